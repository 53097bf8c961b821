"""Templates of paths whose router reports values, but no pattern.

``environ["wsgiorg.routing_args"]`` is ``((positional), {named})``, the values of the parts of the
path (https://wsgi.readthedocs.io/en/latest/specifications/routing_args.html), which WebOb calls
``urlargs`` and ``urlvars``. The path with a name in place of each value is the template, provided
that the rest of the path is text of the pattern. One request does not show that; a second one with
other values and the same rest is evidence.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from avatar_telemetry.http.privacy import decoded

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from avatar_telemetry.wsgi.request import AvatarRequest

KEY = "wsgiorg.routing_args"
MAX_TEMPLATES = 200
"""Templates of a process. A request for a further one keeps its route."""
MAX_CANDIDATES = 1000
MAX_PATH_LENGTH = 1024
MAX_TEMPLATE_LENGTH = 200
MAX_LITERAL_LENGTH = 32
MAX_PARTS = 16

# Text that no number, e-mail address, digest or encoded byte matches.
_LITERAL = re.compile(r"\.?[A-Za-z]+\d?(?:[._-][A-Za-z]+\d?)*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,31}")

Part = tuple[str, str]
"""The name and the value of a part of a path."""


class RoutingArgs:
    """The templates of one application.

    A part of the path that the pattern matches without a name looks like text of the pattern. So a
    template is used from the second request on that has other values and the same remaining text.
    A response of 4xx is no evidence: it may be that to an unknown path.
    """

    def __init__(self) -> None:
        self._confirmed: set[str] = set()
        self._candidates: dict[str, int] = {}
        """Template -> hash of the values of its first request."""

    def observe(self, request: AvatarRequest, environ: WSGIEnvironment) -> None:
        """Report the route of a request that has none. Never raises.

        Args:
            request: the request, whose application has returned or raised.
            environ: the WSGI environment.
        """
        arguments = environ.get(KEY)
        if arguments is None or request.view is not None or request.finished:
            return
        if request.route is not request.telemetry.profile.other:
            return
        try:
            parts = parts_of(arguments)
            template = None if parts is None else template_of(decoded(request.path), parts)
            if template is not None and self._confirms(template, hash(parts), request.status):
                request.resolved(template, None)
        except Exception:  # noqa: BLE001 - objects of the application
            request.guard.failed("probes")

    def _confirms(self, template: str, values: int, status: str) -> bool:
        """Return whether a template has no client data, as far as earlier requests show."""
        if template in self._confirmed:
            return True
        if status[:1] not in ("2", "3", "5") or len(self._confirmed) >= MAX_TEMPLATES:
            return False
        if len(self._candidates) >= MAX_CANDIDATES:
            self._candidates.clear()
        if self._candidates.setdefault(template, values) == values and template != "/":
            return False
        self._candidates.pop(template, None)
        self._confirmed.add(template)
        return True


def parts_of(arguments: object) -> tuple[Part, ...] | None:
    """Return the parts of a path that have text.

    Args:
        arguments: the value in the environ.

    Returns:
        The positional parts, named ``any``, and the named ones. ``None`` if the value has another
        structure, or a part that is neither text nor a number: it is unknown which text of the path
        that stands for.
    """
    if not isinstance(arguments, tuple) or len(arguments) != 2:
        return None
    positional, named = arguments
    if not isinstance(positional, (tuple, list)) or not isinstance(named, dict):
        return None
    parts = []
    for name, value in (*(("any", value) for value in positional), *named.items()):
        if value is None or value == "":  # an optional part that is absent
            continue
        if type(value) is int:
            value = str(value)
        if not isinstance(value, str) or not isinstance(name, str) or not _NAME.fullmatch(name):
            return None
        parts.append((name, value))
    return tuple(parts) if len(parts) <= MAX_PARTS else None


def template_of(path: str, parts: tuple[Part, ...]) -> str | None:
    """Return a path with names in place of values.

    Args:
        path: the decoded path.
        parts: the parts, each of one or several whole segments.

    Returns:
        The template, such as ``/users/{id}``. ``None`` if a value is not in the path, or is there
        more often than it is a part, or if the rest is unlike text of a pattern.
    """
    if len(path) > MAX_PATH_LENGTH:
        return None
    segments: list[str | None] = list(path.removeprefix("/").split("/"))
    names: dict[int, str] = {}
    values = [value.strip("/").split("/") for _, value in parts]
    for (name, _), value in zip(parts, values, strict=True):
        at = _find(segments, value)
        if at is None:
            return None
        names[at] = f"{{{name}}}"
        segments[at : at + len(value)] = [None] * len(value)
    if any(_find(segments, value) is not None for value in values):
        return None
    pieces = []
    for at, segment in enumerate(segments):
        if segment is None:
            pieces += [names[at]] if at in names else []
        elif _is_literal(segment) or (segment == "" and at == len(segments) - 1):
            pieces.append(segment)
        else:
            return None
    template = "/" + "/".join(pieces)
    return template if len(template) <= MAX_TEMPLATE_LENGTH else None


def _find(segments: list[str | None], value: list[str]) -> int | None:
    """Return the position of consecutive segments, or ``None``."""
    size = len(value)
    ends = range(len(segments) - size + 1)
    return next((at for at in ends if segments[at : at + size] == value), None)


def _is_literal(segment: str) -> bool:
    return len(segment) <= MAX_LITERAL_LENGTH and _LITERAL.fullmatch(segment) is not None
