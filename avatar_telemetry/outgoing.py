"""A ``requests.Session`` that no collector can hang: every exchange has one deadline and a limit.

``requests`` bounds each single read alone, so that an answer which comes byte by byte, or never
ends, holds its reader as long as it likes. Here one deadline stands over connecting, sending and
reading, headers included; of an answer no more than :data:`MAX_ANSWER` bytes are read, and none is
followed to another place.

Import this module in a worker, not in the master: gevent's worker patches ``ssl`` after the fork,
and ``urllib3`` would keep the class that it had found before.
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

if TYPE_CHECKING:
    from urllib3.poolmanager import ProxyManager

MAX_ANSWER = 64 * 1024
"""Bytes of an answer that are read, status line and headers included."""
PIECE = 16 * 1024  # one TLS record: the deadline is looked at before each

_DEADLINE: ContextVar[float | None] = ContextVar("avatar_telemetry_deadline", default=None)


class RefusedAnswerError(requests.RequestException):
    """An answer that is not taken for one."""


class BoundedSession(requests.Session):
    """A session whose exchanges end.

    Args:
        certificate: file with the certificates that are trusted, or empty for the system's.
        client: files with the client's certificate and its key, or ``None``.
    """

    def __init__(self, certificate: str = "", client: tuple[str, str] | None = None) -> None:
        super().__init__()
        self._certificate = certificate
        self.verify = certificate or True
        self.cert = client
        self.mount("http://", _BoundedAdapter())
        self.mount("https://", _BoundedAdapter())

    def request(self, *args: Any, **options: Any) -> requests.Response:
        """As of ``requests``; follows no redirect.

        Raises:
            requests.RequestException: no answer that can be used came in time.
        """
        if self._certificate:
            # Said with the request, for REQUESTS_CA_BUNDLE wins over what the session says.
            options.setdefault("verify", self._certificate)
        options["allow_redirects"] = False
        return super().request(*args, **options)


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
        timeout = options.get("timeout")
        deadline = time.monotonic() + timeout if isinstance(timeout, (int, float)) else None
        token = _DEADLINE.set(deadline)
        try:
            response = super().send(request, *args, **{**options, "stream": True})
            _drain(response)
        finally:
            _DEADLINE.reset(token)
        if 300 <= response.status_code < 400:
            raise RefusedAnswerError(
                f"{response.status_code}, a redirect, which is not followed", request=request
            )
        return response


def _drain(response: requests.Response) -> None:
    """Read a short answer to its end, so that its connection can be used again; drop any other.

    The status has come by now. What stands in the body is nothing that we need.
    """
    try:
        response.raw.read(decode_content=False)
    except (HTTPError, http.client.HTTPException, OSError):
        pass
    finally:
        response.raw.close()


class _BoundedAnswer(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp.close()
        self.fp = io.BufferedReader(_Reader(sock))


class _Reader(io.RawIOBase):
    """The bytes of one answer, until the deadline or the limit."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._file = sock.makefile("rb", buffering=0)  # keeps the socket open, as it must be
        self._left = MAX_ANSWER

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        _set_timeout(self._socket)
        count = self._socket.recv_into(buffer, min(len(buffer), self._left))
        self._left -= count
        if self._left <= 0:
            raise RefusedAnswerError("a longer answer than a collector gives")
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


class _Bounded(HTTPConnection):
    response_class = _BoundedAnswer

    def _new_conn(self) -> socket.socket:
        if (left := _left()) is not None:
            self.timeout = left
        sock = super()._new_conn()
        _set_timeout(sock)  # for the TLS handshake
        return sock

    def send(self, data: Any) -> None:
        if not isinstance(data, bytes) or _left() is None:
            super().send(data)
            return
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


def _left() -> float | None:
    deadline = _DEADLINE.get()
    return None if deadline is None else max(deadline - time.monotonic(), 0.001)


def _set_timeout(sock: socket.socket) -> None:
    deadline = _DEADLINE.get()
    if deadline is None:
        return
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    sock.settimeout(left)
