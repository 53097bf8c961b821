"""Switches of protocols: requests whose application took the server's socket (RFC 9110, 15.2.2).

PEP 3333 has no WebSockets: an application that takes the socket out of the environ sends 101 on it
itself, and then ends its call in whatever way the server ignores. simple-websocket and flask-sock
raise ``StopIteration`` under gunicorn, ``ConnectionError`` or an empty 200 under Werkzeug, and
return without ``start_response`` elsewhere.
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
ENDS = {"gunicorn.socket": StopIteration, "werkzeug.socket": ConnectionError}
"""Key of the socket in the environ -> what an application that took it raises."""


def took_socket(environ: WSGIEnvironment, error: BaseException) -> bool:
    """Return whether an exception is the end of a connection that the application took.

    Args:
        environ: of a request with an Upgrade header.
        error: what its application raised.
    """
    return _asks_for_upgrade(environ) and any(
        key in environ and type(error) is kind for key, kind in ENDS.items()
    )


def has_switched(request: AvatarRequest, environ: WSGIEnvironment, body: object) -> bool:
    """Return whether the application of a request took the socket before it returned.

    Args:
        request: with an Upgrade header.
        environ: its WSGI environment.
        body: what the application returned. One that is still to be produced may yet begin a
            response (PEP 3333 lets a generator call ``start_response`` late).
    """
    if not _asks_for_upgrade(environ):
        return False
    status = request.status
    if status:
        return status == "200" and request.announced == 0 and "werkzeug.socket" in environ
    return isinstance(body, EMPTY) and not body


def _asks_for_upgrade(environ: WSGIEnvironment) -> bool:
    """Return whether the connection is to be upgraded (RFC 9110, section 7.8): without the option
    of the Connection header, an Upgrade header is ignored."""
    options = text(environ.get("HTTP_CONNECTION")).lower().split(",")
    return UPGRADE in map(str.strip, options)
