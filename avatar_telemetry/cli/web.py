"""Asking a web server: one connection for a request, bounded in time and in bytes.

Site("https://avatars.example.org").ask("GET", "/metrics").status
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from avatar_telemetry.errors import AvatarTelemetryError

MAX_BYTES = 64 << 20
"""Of an answer: a page of 10,000 series has about 1 MB."""


class WebError(AvatarTelemetryError):
    """A server did not answer: what happened and what to do, in one line."""


@dataclass(frozen=True)
class Answer:
    """What a server said.

    Args:
        status: code.
        headers: names in lower case.
        body: whole.
        cookies: the ``Set-Cookie`` lines.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    cookies: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


class Site:
    """A web server.

    Args:
        url: http or https, host, port; its path is put before every path that is asked for.
        timeout: seconds for each step of an exchange.

    Raises:
        WebError: it is no such URL.
    """

    def __init__(self, url: str, timeout: float = 10.0) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise WebError(f"{url}: {error}; give a URL such as http://127.0.0.1:8000") from None
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise WebError(
                f"{url} is no http or https URL without user name; give one such as"
                " http://127.0.0.1:8000"
            )
        self.url = f"{parts.scheme}://{parts.netloc}"
        self.path = parts.path.rstrip("/")
        self._host, self._port = parts.hostname, port
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._timeout = timeout

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request and read its answer; follows no redirect.

        Raises:
            WebError: there was none.
        """
        connection = self._connection()
        try:
            connection.request(
                method, self.path + path, body, {"Connection": "close", **(headers or {})}
            )
            response = connection.getresponse()
            data = response.read(MAX_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise WebError(f"{self.url} {explain(error)}") from error
        finally:
            connection.close()
        return Answer(
            response.status,
            {name.lower(): value for name, value in response.getheaders()},
            data,
            tuple(response.headers.get_all("Set-Cookie", [])),
        )

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=self._timeout, context=self._tls
        )


def explain(error: Exception) -> str:
    """What happened to a connection, in a few words."""
    if isinstance(error, ssl.SSLError):
        reason = getattr(error, "verify_message", "") or (error.reason or str(error))
        return f"has a TLS fault: {reason.replace('_', ' ').lower()}"
    if isinstance(error, socket.gaierror):
        return "has a name that does not resolve; is it spelled right?"
    if isinstance(error, ConnectionRefusedError):
        return "refuses the connection; is the server running, and on this port?"
    if isinstance(error, TimeoutError):
        return "does not answer in time; is a firewall between, or is the server busy?"
    if isinstance(error, http.client.HTTPException):
        return "does not answer with HTTP; is it the right port?"
    return f"cannot be asked: {getattr(error, 'strerror', None) or error}"
