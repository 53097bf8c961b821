"""A ``requests.Session`` whose exchanges have one deadline and a maximum size.

The timeout of ``requests`` applies to each read: a response that arrives byte by byte, or never
ends, can take any time. Here one deadline applies to connecting, sending and reading, including the
headers; at most :data:`MAX_RESPONSE` bytes of a response are read, and no redirect is followed.
"""

from __future__ import annotations

import http.client
import io
import logging
import socket
import time
from contextlib import suppress
from contextvars import ContextVar
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError
from urllib3.util.connection import allowed_gai_family, create_connection

from avatar_telemetry.config.otlp import Otlp

if TYPE_CHECKING:
    from urllib3.poolmanager import ProxyManager

MAX_RESPONSE = 64 * 1024
"""Bytes of a response that are read, including the status line and the headers."""
MIN_SHARE = 0.001
"""Seconds for an address at least: a timeout of 0 would make the socket non-blocking."""
PIECE = 16 * 1024  # one TLS record: the deadline is checked before each

_DEADLINE: ContextVar[float | None] = ContextVar("avatar_telemetry_deadline", default=None)


class _DebugFilter(logging.Filter):
    """A filter of urllib3's DEBUG records, which have the whole URL: its query may hold a key."""

    def filter(self, record: logging.LogRecord) -> bool:
        return _DEADLINE.get() is None


_DEBUG_FILTER = _DebugFilter()
"""A single object, which a logger accepts once."""


class RefusedResponseError(requests.RequestException):
    """A response that is not a collector's."""


class BoundedSession(requests.Session):
    """A session with one deadline for each exchange.

    Args:
        certificate: the file of trusted certificates, or an empty text for the system's.
        client: the files of the client certificate and its key, or ``None``.
    """

    def __init__(self, certificate: str = "", client: tuple[str, str] | None = None) -> None:
        super().__init__()
        logging.getLogger(urllib3.connectionpool.__name__).addFilter(_DEBUG_FILTER)
        self._certificate = certificate
        self.cert = client
        # Cookies of a collector would accumulate in the requests until it refuses them.
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        self.mount("http://", _BoundedAdapter())
        self.mount("https://", _BoundedAdapter())

    def request(self, method: str, url: str, **options: Any) -> requests.Response:  # type: ignore[override]
        """Send a request as ``requests`` does; ``timeout`` is required, for the whole exchange.

        Raises:
            requests.RequestException: no usable response arrived in time.
        """
        if self._certificate:
            # Set per request: REQUESTS_CA_BUNDLE takes precedence over that of the session.
            options["verify"] = self._certificate
        options["allow_redirects"] = False
        return super().request(method, url, **options)


class _BoundedAdapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> ProxyManager:
        manager: ProxyManager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = POOLS
        return manager

    def send(
        self, request: requests.PreparedRequest, *args: Any, **options: Any
    ) -> requests.Response:
        token = _DEADLINE.set(time.monotonic() + options["timeout"])
        try:
            response = super().send(request, *args, **{**options, "stream": True})
            response._content = _drain(response)
        finally:
            _DEADLINE.reset(token)
        _refuse_redirect(response)
        return response


def _refuse_redirect(response: requests.Response) -> None:
    if 300 <= response.status_code < 400:
        raise RefusedResponseError(f"{response.status_code}, a redirect, which is not followed")


def _drain(response: requests.Response) -> bytes:
    """Read a response to its end, so that its connection can be reused; close it otherwise.

    The status has arrived; a body that does not arrive, or is compressed, counts as empty.
    """
    body = b""
    with suppress(Exception):  # of any kind, such as MemoryError for an impossible length
        body = response.raw.read(decode_content=False)
    response.raw.close()
    return b"" if "Content-Encoding" in response.headers else body


class _BoundedResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp.close()
        self.fp = io.BufferedReader(_Reader(sock))


class _Reader(io.RawIOBase):
    """The bytes of one response, up to the deadline and the maximum size."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._file = sock.makefile("rb", buffering=0)  # keeps the socket open
        self._left = MAX_RESPONSE

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        _set_timeout(self._socket)
        count = self._socket.recv_into(buffer, min(len(buffer), self._left))
        self._left -= count
        if self._left <= 0:
            raise RefusedResponseError(f"a response of more than {MAX_RESPONSE} bytes")
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


class _Bounded(HTTPConnection):
    response_class = _BoundedResponse

    def _new_conn(self) -> socket.socket:
        """Try all addresses of the name within the deadline, each with a share of the remaining
        time, so that one that does not respond leaves time for the others."""
        name = self.host.strip("[]")
        try:
            addresses = addresses_of(name, self.port)
        except OSError as error:
            raise NewConnectionError(self, f"cannot resolve {name}: {error}") from error
        failure: OSError = OSError(f"{name} has no address")
        for number, address in enumerate(addresses):
            share = max(_left(), MIN_SHARE) / (len(addresses) - number)
            try:
                sock = create_connection(
                    (address, self.port), share, self.source_address, self.socket_options
                )
            except OSError as error:
                failure = error
            else:
                _set_timeout(sock)  # for the TLS handshake
                return sock
        if isinstance(failure, TimeoutError):
            raise ConnectTimeoutError(self, f"connecting to {name} timed out") from failure
        raise NewConnectionError(self, f"cannot connect to {name}: {failure}") from failure

    def send(self, data: Any) -> None:
        for start in range(0, len(data), PIECE):
            if self.sock is not None:
                _set_timeout(self.sock)
            super().send(data[start : start + PIECE])


class _BoundedTls(_Bounded, HTTPSConnection):
    pass


class BoundedPool(HTTPConnectionPool):
    ConnectionCls = _Bounded


class BoundedTlsPool(HTTPSConnectionPool):
    ConnectionCls = _BoundedTls


POOLS = {"http": BoundedPool, "https": BoundedTlsPool}


def addresses_of(name: str, port: int) -> list[str]:
    """Return the addresses of a name, each once.

    Raises:
        OSError: the name cannot be resolved.
    """
    found = socket.getaddrinfo(name, port, allowed_gai_family(), socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


def _left() -> float:
    """Return the seconds until the deadline."""
    return (_DEADLINE.get() or 0.0) - time.monotonic()


def _set_timeout(sock: socket.socket) -> None:
    left = _left()
    if left <= 0:
        raise TimeoutError("timed out")
    sock.settimeout(left)


def open_session(otlp: Otlp) -> BoundedSession:
    """Make the session of one exporter over HTTP."""
    client = (otlp.client_certificate, otlp.client_key) if otlp.client_certificate else None
    return BoundedSession(otlp.certificate, client)
