"""A WSGI server of the tests: calls an application as PEP 3333 has it, and keeps what came."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any
from wsgiref.util import setup_testing_defaults

FORM = (
    b"--x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a.png\"\r\n"
    b"Content-Type: image/png\r\n\r\n" + b"p" * 100 + b"\r\n--x--\r\n"
)  # fmt: skip
"""The body of an upload with the boundary ``x``."""


def make_environ(
    path: str = "/", method: str = "GET", query: str = "", body: bytes = b"", **more: Any
) -> dict[str, Any]:
    """An environ; a key with ``__`` in it stands for one with a dot."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method, "SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": query,
        "CONTENT_LENGTH": str(len(body)), "wsgi.input": BytesIO(body), "REMOTE_ADDR": "192.0.2.1",
    }  # fmt: skip
    environ |= {name.replace("__", "."): value for name, value in more.items()}
    setup_testing_defaults(environ)
    return environ


@dataclass
class Exchange:
    """One request under way: what the server side sees."""

    status: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    written: list[bytes] = field(default_factory=list)
    starts: int = 0
    body: Any = None

    def start_response(self, status: str, headers: Any, exc_info: Any = None) -> Callable[..., Any]:
        if exc_info and self.written:
            raise exc_info[1].with_traceback(exc_info[2])
        self.starts += 1
        self.status, self.headers = status, list(headers)
        return self.written.append

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def content(self) -> bytes:
        return b"".join(self.written)


def call(application: Any, environ: dict[str, Any] | None = None, **changes: Any) -> Exchange:
    """One whole request: call, iterate to the end, close."""
    exchange = start(application, environ, **changes)
    finish(exchange)
    return exchange


def start(application: Any, environ: dict[str, Any] | None = None, **changes: Any) -> Exchange:
    """Only the call of the application; the body is not touched."""
    exchange = Exchange()
    exchange.body = application(environ or make_environ(**changes), exchange.start_response)
    return exchange


def finish(exchange: Exchange) -> None:
    """Iterate and close, as a server must."""
    try:
        exchange.written.extend(exchange.body)
    finally:
        close(exchange.body)


def close(body: Iterable[bytes]) -> None:
    if hasattr(body, "close"):
        body.close()
