"""Probe of Django's resolver: the URL pattern and the view of a request.

The pattern is text of the application and names a route that the profile does not have, with no
middleware and no setting.
"""

from __future__ import annotations

import functools
import re
from types import ModuleType
from typing import Any

from avatar_telemetry.probes.patching import surround, when_imported
from avatar_telemetry.probes.routing import Found, bounded, observe_router
from avatar_telemetry.wsgi.request import AvatarRequest

ANY = "{any}"

_QUANTIFIER = r"(?:[*+?]|\{\d*,?\d*\})*\??"
_TOKEN = re.compile(
    r"<(?:[^<>:]*:)?(?P<converter>\w+)>"  # <int:id> of path()
    r"|(?P<group>\()"
    rf"|(?P<some>\[\^?\]?(?:\\.|[^\]\\])*\]{_QUANTIFIER}|\\[dDwWsS]{_QUANTIFIER}|\.[*+?]+\??)"
    r"|(?P<nothing>\\[AZbB]|[\^$*+?]|\{\d*,?\d*\})"
    r"|\\(?P<escaped>.)"
    r"|(?P<literal>.)",
    re.DOTALL,
)
_NAME = re.compile(r"\(\?P<(\w+)>")
_AFTER_GROUP = re.compile(_QUANTIFIER)


def install() -> None:
    """Observe the resolution of every request (Django 3.1 and later)."""
    when_imported("django.core.handlers.base", _patch)


def _patch(module: ModuleType) -> None:
    surround(module, "BaseHandler.resolve_request", observe_router(_find))


def _find(request: AvatarRequest, match: Any, *args: Any) -> Found:
    return route_template(match.route), match.view_name


@functools.lru_cache(maxsize=1024)
def route_template(route: str) -> str:
    r"""Return the template of a URL pattern, for labels and span names.

    Args:
        route: the ``route`` of a ``ResolverMatch``: the joined arguments of ``path()`` and
            ``re_path()``, such as ``users/<int:id>/`` or ``avatar/(?P<digest>\w{32})``.

    Returns:
        The template, such as ``/users/{id}/`` or ``/avatar/{digest}``; a group without a name is
        ``{any}``.
    """
    pieces = []
    at = 0
    while at < len(route):
        token = _TOKEN.match(route, at)
        if token is None:
            break
        at = token.end()
        if token["group"]:
            piece, at = _group(route, token.start())
        elif token["converter"]:
            piece = f"{{{token['converter']}}}"
        else:
            piece = ANY if token["some"] else token["escaped"] or token["literal"] or ""
        pieces.append(piece)
    text = "".join(pieces).replace(ANY + ANY, ANY)
    return bounded(text)


def _group(route: str, start: int) -> tuple[str, int]:
    """Return the template of the group that begins at a position, and the position of its end."""
    end = _end_of_group(route, start)
    after = _AFTER_GROUP.match(route, end)
    end = after.end() if after else end
    name = _NAME.match(route, start)
    if name:
        return f"{{{name[1]}}}", end
    # (?=...), (?!...), (?<=...) and (?<!...) match no text; (?:...) and a plain group do.
    return ("" if route[start + 1 : start + 3] in ("?=", "?!", "?<") else ANY), end


def _end_of_group(route: str, start: int) -> int:
    depth, at = 0, start
    while at < len(route):
        letter = route[at]
        if letter == "\\":
            at += 1
        elif letter == "[":
            at = _end_of_class(route, at)
            continue
        elif letter in "()":
            depth += 1 if letter == "(" else -1
            if depth == 0:
                return at + 1
        at += 1
    return len(route)


def _end_of_class(route: str, start: int) -> int:
    found = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL).match(route, start)
    return found.end() if found else start + 1
