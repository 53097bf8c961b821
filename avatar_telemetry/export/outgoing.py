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
import logging
import socket
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import select_proxy
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    HTTPError,
    MaxRetryError,
    NewConnectionError,
    ProtocolError,
    SSLError,
)
from urllib3.util.connection import allowed_gai_family

if TYPE_CHECKING:
    from urllib3.poolmanager import ProxyManager

MAX_ANSWER = 64 * 1024
"""Bytes of an answer that are read, status line and headers included."""
NO_RETRIES = urllib3.Retry(0, read=False)
PIECE = 16 * 1024  # one TLS record: the deadline is looked at before each

_DEADLINE: ContextVar[float | None] = ContextVar("avatar_telemetry_deadline", default=None)


class _Discretion(logging.Filter):
    """urllib3 logs each request at level DEBUG with its whole URL, whose query may hold a key."""

    def filter(self, record: logging.LogRecord) -> bool:
        return _DEADLINE.get() is None


_DISCRETION = _Discretion()
"""One, so that the logger has it once however many sessions there are."""


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
        logging.getLogger(urllib3.connectionpool.__name__).addFilter(_DISCRETION)
        self._certificate = certificate
        self.answer = b""
        """The body of the last answer, as far as it was read."""
        self._way: _Way | None
        self.verify = certificate or True
        self.cert = client
        self.renew()

    def renew(self) -> None:
        """In a forked child: the connections are the parent's, which goes on with them."""
        self._way = None
        self.mount("http://", _BoundedAdapter())
        self.mount("https://", _BoundedAdapter())

    # Exporters name all other arguments.
    def request(self, method: str, url: str, **options: Any) -> requests.Response:  # type: ignore[override]
        """As of ``requests``; follows no redirect.

        An exporter sends to one URL all its life, so what ``requests`` finds out anew for every
        request (proxies, certificates, headers, cookies) is found out for the first one. Where a
        proxy is between, every request goes the long way.

        Raises:
            requests.RequestException: no answer that can be used came in time.
        """
        self.answer = b""
        if self._way is None or self._way.url != url:
            self._way = self._find_way(method, url, options.get("headers"))
        if self._way.pool is None:
            response = self._go_the_long_way(method, url, options)
        else:
            response = self._way.go(self._way.pool, options["data"], options["timeout"])
        self.answer = response.content
        return response

    def _find_way(self, method: str, url: str, headers: Any) -> _Way:
        prepared = self.prepare_request(requests.Request(method, url, headers=headers))
        # Said with the request, for REQUESTS_CA_BUNDLE wins over what the session says.
        settings = self.merge_environment_settings(url, {}, True, self._certificate or None, None)
        if select_proxy(url, settings["proxies"]):
            return _Way(url, prepared, None)
        adapter = self.get_adapter(url)
        pool = adapter.get_connection_with_tls_context(  # type: ignore[attr-defined]
            prepared, settings["verify"], proxies=None, cert=settings["cert"]
        )
        return _Way(url, prepared, pool)

    def _go_the_long_way(self, method: str, url: str, options: dict[str, Any]) -> requests.Response:
        if self._certificate:
            options.setdefault("verify", self._certificate)
        options["allow_redirects"] = False
        return super().request(method, url, **options)


class _Way:
    """How the requests to one URL are sent.

    Args:
        url: where to.
        prepared: a request with all headers but those of its body.
        pool: of connections, ``None`` where a proxy is between.
    """

    def __init__(
        self, url: str, prepared: requests.PreparedRequest, pool: HTTPConnectionPool | None
    ) -> None:
        self.url = url
        self.pool = pool
        self._prepared = prepared
        self._headers = {
            name: str(value) for name, value in prepared.headers.items() if name != "Content-Length"
        }

    def go(self, pool: HTTPConnectionPool, data: bytes, timeout: float) -> requests.Response:
        """Send a body and read the answer, within seconds."""
        token = _DEADLINE.set(time.monotonic() + timeout)
        try:
            raw = pool.urlopen(
                "POST", self._prepared.path_url, data, self._headers, retries=NO_RETRIES,
                redirect=False, assert_same_host=False, timeout=timeout, preload_content=False,
            )  # fmt: skip
            response = requests.Response()
            response.status_code = raw.status
            response.reason = raw.reason or ""
            response.headers = CaseInsensitiveDict(raw.headers)
            response.raw = raw
            response._content = _drain(response)
        except (HTTPError, OSError) as error:
            raise _as_requests_says(error) from error
        finally:
            _DEADLINE.reset(token)
        _refuse_redirect(response)
        return response


def _as_requests_says(error: Exception) -> requests.RequestException:
    """The exception of ``requests`` for one of ``urllib3``: exporters tell them apart."""
    reason = getattr(error, "reason", None)
    if isinstance(error, RefusedAnswerError):
        return error
    if isinstance(reason if isinstance(reason, Exception) else error, SSLError):
        return requests.exceptions.SSLError(error)
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return requests.Timeout(error)
    if isinstance(error, (ProtocolError, MaxRetryError, NewConnectionError, OSError)):
        return requests.ConnectionError(error)
    return requests.RequestException(error)


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
            response._content = _drain(response)
        finally:
            _DEADLINE.reset(token)
        _refuse_redirect(response)
        return response


def _refuse_redirect(response: requests.Response) -> None:
    if 300 <= response.status_code < 400:
        raise RefusedAnswerError(f"{response.status_code}, a redirect, which is not followed")


def _drain(response: requests.Response) -> bytes:
    """Read a short answer to its end, so that its connection can be used again; drop any other.

    The status has come by now; a body that does not come, or is compressed, counts as empty.
    """
    body = b""
    try:
        body = response.raw.read(decode_content=False)
    except (HTTPError, http.client.HTTPException, OSError):
        pass
    finally:
        response.raw.close()
    return b"" if "Content-Encoding" in response.headers else body


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
        sock = super()._new_conn() if _left() is None else self._connect_within()
        _set_timeout(sock)  # for the TLS handshake
        return sock

    def _connect_within(self) -> socket.socket:
        """Try all addresses of the name within the deadline: each has its share of what is left,
        so that one which does not answer leaves time for the others."""
        name = self._dns_host
        try:
            addresses = addresses_of(name, self.port)
        except OSError as error:
            raise NewConnectionError(self, f"cannot resolve {name}: {error}") from error
        try:
            for number, address in enumerate(addresses, 1):
                self.timeout = (_left() or 0.0) / (len(addresses) - number + 1)
                self._dns_host = address
                try:
                    return super()._new_conn()
                except (HTTPError, OSError):
                    if number == len(addresses):
                        raise
            raise NewConnectionError(self, f"{name} has no address")
        finally:
            self._dns_host = name

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


def addresses_of(name: str, port: int) -> list[str]:
    """The addresses of a name, each once.

    Raises:
        OSError: it cannot be resolved.
    """
    found = socket.getaddrinfo(
        name.strip("[]"), port, allowed_gai_family(), socket.SOCK_STREAM
    )  # fmt: skip
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


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
