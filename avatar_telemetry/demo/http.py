"""Small pieces of HTTP: early answers, queries, bodies and the way out to the server."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlsplit

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

SLICE = 64 * 1024
MAX_PARTS = 50


class HttpError(Exception):
    """Ends a request with an error page.

    Args:
        status: of the answer.
        message: for the user.
        allow: methods, for a 405.
    """

    def __init__(self, status: int, message: str, allow: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.allow = allow


class BodyTooLarge(HttpError):
    """The body is larger than this page takes."""

    def __init__(self) -> None:
        super().__init__(413, "The request is too large.")


def wsgi_text(environ: WSGIEnvironment, name: str) -> str:
    """A variable as text: servers give UTF-8 bytes in the guise of Latin-1 (PEP 3333)."""
    raw: str = environ.get(name, "")
    return raw.encode("latin-1").decode("utf-8", "replace")


def parse_query(environ: WSGIEnvironment) -> dict[str, str]:
    """The query string; of a name that comes twice, the last value counts."""
    return dict(parse_qsl(wsgi_text(environ, "QUERY_STRING"), keep_blank_values=True))


def absolute_uri(environ: WSGIEnvironment) -> str:
    """The address that was asked for, never the same for two different ones."""
    host = environ.get("HTTP_HOST") or f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}"
    raw = (environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")).encode("latin-1")
    query = environ.get("QUERY_STRING", "")
    return f"{environ['wsgi.url_scheme']}://{host}{quote(raw)}?{query}"


def buffer_body(request: Any, limit: int, drained: int) -> None:
    """Read a body of ``limit`` bytes at most, whatever its announced length says.

    Args:
        request: WebOb's.
        limit: bytes that are kept.
        drained: bytes that are read at most, so that a client in the middle of its body
            reads our answer.

    Raises:
        BodyTooLarge: there was more.
        HttpError: the client went away.
    """
    body, total = BytesIO(), 0
    try:
        while chunk := request.body_file.read(SLICE):
            total += len(chunk)
            if total <= limit:
                body.write(chunk)
            elif total > drained:
                break
    except OSError:
        raise HttpError(400, "The request ended early.") from None
    if total > limit:
        raise BodyTooLarge
    request.body = body.getvalue()


def parse_form(request: Any) -> Any:
    """The fields of a buffered body.

    Raises:
        HttpError: the body is malformed, or made of far too many parts.
    """
    separator = b"\r\n--" if request.content_type == "multipart/form-data" else b"&"
    if request.body.count(separator) > MAX_PARTS and not _has_file(request):
        raise HttpError(400, "The form has too many fields.")
    try:
        return request.POST
    except (ValueError, LookupError, OSError):
        raise HttpError(400, "The form is malformed.") from None


def _has_file(request: Any) -> bool:
    # A photo may hold what looks like a separator; the real one is longer.
    boundary = request.headers.get("Content-Type", "").partition("boundary=")[2].strip('"')
    separator = b"\r\n--" + boundary.encode("latin-1")
    return bool(boundary) and request.body.count(separator) <= MAX_PARTS


def local_path(text: str) -> str:
    """A path on this server, empty where ``text`` would lead elsewhere."""
    if not text.startswith("/") or text.startswith("//") or "\\" in text:
        return ""
    return text if text.isprintable() and " " not in text else ""


def web_url(text: str) -> str:
    """An http or https URL fit for a header, empty where ``text`` is none."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return ""
    if parts.scheme.lower() not in ("http", "https") or not parts.netloc:
        return ""
    plain = text.isprintable() and not set(text) & set(' "<>\\^`{|}')
    return quote(text, safe="%/:=&?~#+!$,;'@()*[]") if plain else ""


def send(response: Any, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Hand a response to the server as it is: redirects stay relative, files stay files."""
    start_response(response.status, response.headerlist)
    if environ["REQUEST_METHOD"] != "HEAD":
        body: Iterable[bytes] = response.app_iter
        return body
    close = getattr(response.app_iter, "close", None)
    if close:
        close()
    return []
