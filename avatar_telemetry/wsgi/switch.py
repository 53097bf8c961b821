"""Detect a protocol switch: the application took the server's socket (RFC 9110, section 15.2.2).

PEP 3333 does not define WebSockets: an application takes the socket from the environ, sends 101 on
it, and ends its call in a way that the server ignores. simple-websocket and flask-sock raise
``StopIteration`` under gunicorn, raise ``ConnectionError`` or return an empty 200 under Werkzeug,
and return without ``start_response`` elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from avatar_telemetry.http.environ import text

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from avatar_telemetry.wsgi.request import AvatarRequest

UPGRADE = "upgrade"
EMPTY = (list, tuple, bytes, str)
"""Types of a body that is complete when it is returned."""
EXCEPTIONS = {"gunicorn.socket": StopIteration, "werkzeug.socket": ConnectionError}
"""Key of the socket in the environ -> the exception of an application that took it."""


def took_socket(environ: WSGIEnvironment, error: BaseException) -> bool:
    """Return whether an exception ends a call whose application took the socket.

    Args:
        environ: the WSGI environment of a request with an Upgrade header.
        error: the exception that its application raised.
    """
    return _asks_for_upgrade(environ) and any(
        key in environ and type(error) is kind for key, kind in EXCEPTIONS.items()
    )


def has_switched(request: AvatarRequest, environ: WSGIEnvironment, body: object) -> bool:
    """Return whether the application of a request took the socket before it returned.

    Args:
        request: the request, which has an Upgrade header.
        environ: its WSGI environment.
        body: the value that the application returned. A generator may still begin a response (PEP
            3333 permits a late call of ``start_response``).
    """
    if not _asks_for_upgrade(environ):
        return False
    status = request.status
    if status:
        return status == "200" and request.announced == 0 and "werkzeug.socket" in environ
    return isinstance(body, EMPTY) and not body


def _asks_for_upgrade(environ: WSGIEnvironment) -> bool:
    """Return whether an upgrade is requested: an Upgrade header without the option of the
    Connection header is ignored (RFC 9110, section 7.8)."""
    options = text(environ.get("HTTP_CONNECTION")).lower().split(",")
    return UPGRADE in map(str.strip, options)
