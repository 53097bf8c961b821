"""The wrapper that the probes of routers share.

The first router that finds a route for a request names it: the route of a mounted application is
found by the outer one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from avatar_telemetry.probes.patching import Around, Call
from avatar_telemetry.wsgi.request import CURRENT, ENVIRON_KEY, AvatarRequest

MAX_TEMPLATE_LENGTH = 200

Found = tuple[str, object]
"""The template of a route and the name of its view, which is ignored if it is not a text."""
FindRoute = Callable[..., "Found | None"]
"""``(request in progress, result of the router, *its arguments) -> route``; ``None``: no route."""


def observe_router(find: FindRoute) -> Around:
    """Return a wrapper that reports the route that a router found for the request in progress.

    Args:
        find: a function that reads the route; its errors are counted, not raised.
    """

    def around(original: Call) -> Call:
        def route(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            request = CURRENT.get()
            if request is not None and request.view is None:
                try:
                    found = find(request, result, *args, **kwargs)
                    if found is not None:
                        template, view = found
                        request.resolved(bounded(template), view if isinstance(view, str) else None)
                except Exception:  # noqa: BLE001 - an application may replace the router
                    request.guard.failed("probes")
            return result

        return route

    return around


def is_of(request: AvatarRequest, environ: Any) -> bool:
    """Return whether an environ is that of a request; a router may be asked for other paths."""
    return environ.get(ENVIRON_KEY) is request


def bounded(template: str) -> str:
    """Return a template that begins with one slash and has a limited length."""
    return ("/" + template.lstrip("/"))[:MAX_TEMPLATE_LENGTH]
