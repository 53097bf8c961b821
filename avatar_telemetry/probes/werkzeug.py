"""Probe of Werkzeug's router, which is Flask's: the rule and the endpoint of a request."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from avatar_telemetry.probes.patching import Call, surround, when_imported
from avatar_telemetry.probes.routing import Found, is_of, observe_router
from avatar_telemetry.wsgi.request import CURRENT, AvatarRequest

OWN = "_avatar_telemetry_own"
"""Mark of an adapter that was bound to the environ of the request in progress."""


def install() -> None:
    """Observe the adapters that are bound to an environ (Werkzeug 2.2 and later)."""
    when_imported("werkzeug.routing", _patch)


def _patch(module: ModuleType) -> None:
    surround(module, "Map.bind_to_environ", _around_bind)
    surround(module, "MapAdapter.match", _around_match)


def _around_bind(original: Call) -> Call:
    def bind_to_environ(self: Any, environ: Any, *args: Any, **kwargs: Any) -> Any:
        adapter = original(self, environ, *args, **kwargs)
        request = CURRENT.get()
        if request is not None and request.view is None:
            try:
                if is_of(request, getattr(environ, "environ", environ)):
                    setattr(adapter, OWN, True)
            except Exception:  # noqa: BLE001 - an application may replace the adapter
                request.guard.failed("probes")
        return adapter

    return bind_to_environ


def _around_match(original: Call) -> Call:
    find_rule = observe_router(_find)(original)

    def match(
        self: Any,
        path_info: Any = None,
        method: Any = None,
        return_rule: bool = False,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        if not hasattr(self, OWN):
            return original(self, path_info, method, return_rule, *args, **kwargs)
        rule, values = find_rule(self, path_info, method, True, *args, **kwargs)
        return (rule if return_rule else rule.endpoint), values

    return match


def _find(
    request: AvatarRequest, result: Any, adapter: Any, path: Any, method: Any, *args: Any, **_: Any
) -> Found | None:
    # test() and the check of a link match other paths and methods than those of the request.
    if path not in (None, adapter.path_info) or method not in (None, adapter.default_method):
        return None
    rule = result[0]
    return rule.rule, rule.endpoint
