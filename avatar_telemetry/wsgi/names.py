"""Names of the spans of a request, also for access logs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from avatar_telemetry.http.labels import OTHER, STATUSES
from avatar_telemetry.profiles.model import Kind, Route
from avatar_telemetry.wsgi.outcome import Outcome

OTHER_METHOD = "_OTHER"
UNKNOWN_ERROR = "_OTHER"
"""``error.type`` of an error without a name."""
_WITH_OPERATION = frozenset(("avatar", "upload", "import", "auth"))
"""Kinds of routes whose requests have an operation span."""
_ASKS_FOR_AVATAR = frozenset(("GET", "HEAD"))
_CODES = {status: int(status) for status in STATUSES if status != OTHER}
_NO_ERROR = frozenset(("", *(status for status in _CODES if status[0] != "5")))
"""Statuses that are no failure of the server; empty if none was sent."""
_UNSERVED: Mapping[str, str] = {"304": "avatar.not_modified", "404": "avatar.not_found"}


def has_operation(kind: Kind, method: str) -> bool:
    """Return whether a request has an operation span.

    Args:
        kind: the kind of its route.
        method: its method, as a label.
    """
    return kind in _WITH_OPERATION and (kind != "avatar" or method in _ASKS_FOR_AVATAR)


def error_type(status: str) -> str | None:
    """Return ``error.type`` of a status (semantic conventions, HTTP spans, "Status"): a 5xx itself,
    ``_OTHER`` for a status that cannot be interpreted, else ``None``.

    https://opentelemetry.io/docs/specs/semconv/http/http-spans/#status
    """
    if status in _NO_ERROR:
        return None
    return status if status in _CODES else UNKNOWN_ERROR


@lru_cache(maxsize=4096)
def server_name(method: str, template: str) -> str:
    """Return the name of a server span: method and route (semantic conventions, HTTP spans)."""
    known = "HTTP" if method in (OTHER, OTHER_METHOD) else method
    return f"{known} {template}" if template[:1] == "/" else known


def name_of(found: Outcome, success: bool | None) -> str:
    """Return the name of the operation of a request that ended."""
    if found.source:
        made = f"avatar.generate_{found.picture}"
    else:
        made = f"avatar.serve_{found.served}" if found.served else "avatar.refuse"
    return operation_name(found.route, found.method, found.status, found.cache, success, made)


def operation_name(
    route: Route, method: str, status: str, cache: str, success: bool | None, made: str
) -> str:
    """Return the name of the operation of a request.

    Args:
        route: its route.
        method: its method, as a label.
        status: the status code of its response; empty before there is one.
        cache: the result of its lookup in the avatar cache.
        success: whether an attempt succeeded.
        made: the name of a request whose response was a success.
    """
    if route.kind == "upload":
        return "file_upload.form" if _only_shows(method, success) else "file_upload.process"
    if route.kind in ("auth", "import"):
        operation = "form" if _only_shows(method, success) else route.operation
        return f"{route.kind}.{operation}"
    if route.kind != "avatar" or method not in _ASKS_FOR_AVATAR:
        return server_name(method, route.template)
    if route.service:
        return f"avatar.{route.service}_proxy"
    if cache == "hit":
        return "avatar.cache_hit"
    if status == "200":
        return made
    return _UNSERVED.get(status) or ("avatar.redirect" if status[:1] == "3" else "avatar.refuse")


def _only_shows(method: str, success: bool | None) -> bool:
    """Return whether a request only shows a form. A POST is an attempt, although another route may
    count it (a login with OpenID)."""
    return success is None and method != "POST"


def status_code(status: str) -> int | None:
    """Return a status as a number; ``None`` if it is not one."""
    return _CODES.get(status)
