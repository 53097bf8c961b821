"""HTTP requests of the commands: one connection each, with a timeout and a maximum size.

Site("https://avatars.example.org").get("/metrics").status
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from avatar_telemetry._base.errors import AvatarTelemetryError

TIMEOUT = 10.0
"""Seconds for each step of an exchange, unless the command has an option for it."""
MAX_BYTES = 64 << 20
"""Bytes of a response; a page of 10,000 series has about 1 MB."""


class WebError(AvatarTelemetryError):
    """A server did not respond; the message has the cause and the fix on one line."""


@dataclass(frozen=True)
class Response:
    """A response, with header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


class Site:
    """A web server.

    Args:
        url: an http or https URL; its path is the prefix of every requested path.
        timeout: the seconds for each step of an exchange; by default :data:`TIMEOUT`.

    Raises:
        WebError: the URL is invalid.
    """

    def __init__(self, url: str, timeout: float | None = None) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise WebError(
                f"{without_login(url)}: {error}; use a URL such as http://127.0.0.1:8000"
            ) from None
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise WebError(
                f"{without_login(url)} is not an http or https URL without user name; use one such"
                " as http://127.0.0.1:8000"
            )
        self.url = f"{parts.scheme}://{parts.netloc}"
        self.path = parts.path.rstrip("/")
        self._address = parts.hostname, port
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._timeout = TIMEOUT if timeout is None else timeout

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Response:
        """Send a GET request and read the response, without following redirects.

        Raises:
            WebError: the server did not respond, or the URL or a header is invalid.
        """
        connection = (
            http.client.HTTPSConnection(*self._address, timeout=self._timeout, context=self._tls)
            if self._tls
            else http.client.HTTPConnection(*self._address, timeout=self._timeout)
        )
        headers = {"Connection": "close", **(headers or {})}
        try:
            connection.request("GET", self.path + path, headers=headers)
            response = connection.getresponse()
            data = response.read(MAX_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise WebError(f"{self.url} {explain(error)}") from error
        except ValueError:  # its message has the header, which may be a token
            raise WebError(
                f"{self.url} was not requested: its name, or the token, has a character that is not"
                " allowed there, such as a line break"
            ) from None
        finally:
            connection.close()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Response(response.status, found, data)


def without_login(url: str) -> str:
    """Return a URL without user name and password."""
    return re.sub(r"[^/]*@", "", url)


def explain(error: Exception) -> str:
    """Return the fault of a connection, and the likely fix."""
    if isinstance(error, ssl.SSLError):
        reason = getattr(error, "verify_message", "") or (error.reason or str(error))
        return f"has a TLS fault: {reason.replace('_', ' ').lower()}"
    if isinstance(error, socket.gaierror):
        return "has a name that does not resolve; check its spelling"
    if isinstance(error, ConnectionRefusedError):
        return "refuses the connection; check that the server runs, on this port"
    if isinstance(error, TimeoutError):
        return "timed out; check the firewall, and that the server is not busy"
    if isinstance(error, http.client.HTTPException):
        return "does not respond with HTTP; check the port"
    return f"cannot be reached: {getattr(error, 'strerror', None) or error}"
