"""One request as a server makes it, without the server."""

from __future__ import annotations

import io
from typing import Any

DIGEST = "0123456789abcdef" * 2
PATH = "/avatar/" + DIGEST
QUERY = "s=80&d=identicon"
# What gunicorn gives for a browser's request behind no proxy.
ENVIRON = {
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "",
    "PATH_INFO": PATH,
    "QUERY_STRING": QUERY,
    "RAW_URI": f"{PATH}?{QUERY}",
    "SERVER_NAME": "127.0.0.1",
    "SERVER_PORT": "8000",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "REMOTE_ADDR": "127.0.0.1",
    "REMOTE_PORT": "40000",
    "HTTP_HOST": "seccdn.example.org:8000",
    "HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "HTTP_ACCEPT": "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5",
    "HTTP_ACCEPT_ENCODING": "gzip, deflate, br, zstd",
    "HTTP_ACCEPT_LANGUAGE": "en-GB,en;q=0.5",
    "HTTP_CONNECTION": "keep-alive",
    "wsgi.version": (1, 0),
    "wsgi.url_scheme": "http",
    "wsgi.multithread": False,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
    "wsgi.input": io.BytesIO(),
    "wsgi.errors": io.StringIO(),
}
# Of a caller whose own trace is sampled, which binds a sampler that follows its parent.
SAMPLED_PARENT = {
    **ENVIRON,
    "HTTP_TRACEPARENT": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "HTTP_SENTRY_TRACE": "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
}


def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
    """A server's; what it does is not measured."""
    return None


def serve(application: Any, environ: dict[str, Any] = ENVIRON) -> None:
    """One request, by default that for the avatar, to the last byte and the call of ``close()``."""
    body = application(dict(environ), start_response)
    for _ in body:
        pass
    close = getattr(body, "close", None)
    if close is not None:
        close()


def ask(application: Any, path: str) -> bytes:
    """The body that answers a plain GET."""
    environ = {**ENVIRON, "PATH_INFO": path, "QUERY_STRING": "", "HTTP_ACCEPT_ENCODING": "identity"}
    body = application(environ, start_response)
    try:
        return b"".join(body)
    finally:
        close = getattr(body, "close", None)
        if close is not None:
            close()
