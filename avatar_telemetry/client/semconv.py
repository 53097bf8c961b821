"""Names and values of a server span's HTTP attributes, by ``OTEL_SEMCONV_STABILITY_OPT_IN``.

    attributes = HttpAttributes("both", privacy, proxies)
    begun = attributes.start(environ, route.template)
    dict(zip(attributes.names, attributes.values(begun, 200, 5_120, None)))  # None: absent

The names of a mode are known beforehand and values are told by their position: a request builds
one tuple of values and nothing else. Old names are those of the semantic conventions before 1.23,
and ``http.remote_addr``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from avatar_telemetry.client import authority
from avatar_telemetry.client.environ import text
from avatar_telemetry.client.forwarded import Proxies
from avatar_telemetry.client.privacy import Privacy
from avatar_telemetry.config.settings import Semconv
from avatar_telemetry.store.labels import KNOWN_METHODS

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

Value = str | int | None
Values = tuple[Value, ...]

AVATAR_NAMES = (
    "ivatar.request_type", "ivatar.avatar_size", "ivatar.avatar_format", "ivatar.avatar_digest",
    "ivatar.avatar_email",
)  # fmt: skip
FILE_NAMES = ("file.name", "file.size", "file.content_type")

_OLD_REQUEST = (
    "http.method", "http.url", "http.target", "http.scheme", "http.flavor", "http.user_agent",
    "http.remote_addr", "net.host.name", "net.host.port", "http.request_content_length",
)  # fmt: skip
_STABLE_REQUEST = (
    "http.request.method", "http.request.method_original", "url.scheme", "url.path", "url.query",
    "server.address", "server.port", "client.address", "network.peer.address",
    "network.protocol.version", "user_agent.original", "http.request.body.size",
)  # fmt: skip
_SHARED_REQUEST = ("http.route",)
_OLD_RESPONSE = ("http.status_code", "http.response_content_length")
_STABLE_RESPONSE = ("http.response.status_code", "http.response.body.size")
_SHARED_RESPONSE = ("error.type",)

REQUEST_NAMES: dict[Semconv, tuple[str, ...]] = {
    "old": _OLD_REQUEST + _SHARED_REQUEST,
    "stable": _STABLE_REQUEST + _SHARED_REQUEST,
    "both": _OLD_REQUEST + _STABLE_REQUEST + _SHARED_REQUEST,
}
RESPONSE_NAMES: dict[Semconv, tuple[str, ...]] = {
    "old": _OLD_RESPONSE + _SHARED_RESPONSE,
    "stable": _STABLE_RESPONSE + _SHARED_RESPONSE,
    "both": _OLD_RESPONSE + _STABLE_RESPONSE + _SHARED_RESPONSE,
}

OTHER_METHOD = "_OTHER"
MAX_METHOD_LENGTH = 32
_VERSIONS = {
    "HTTP/0.9": "0.9", "HTTP/1.0": "1.0", "HTTP/1.1": "1.1", "HTTP/2": "2", "HTTP/2.0": "2",
    "HTTP/3": "3", "HTTP/3.0": "3",
}  # fmt: skip
ASTERISK = "*"
"""The target of a request for the server as a whole (RFC 9112, section 3.2.4)."""
_SCHEMES = {"http": "http", "https": "https"}
MAX_COUNT_LENGTH = 18
"""Digits of a Content-Length that is believed: more than an int64 of OTLP holds is none."""
MAX_REMEMBERED_LENGTH = 512
"""Characters of what a client sent that are worth a place in a cache."""


class HttpAttributes:
    """Builds the values of the HTTP attributes of every request.

    Args:
        mode: whose names.
        privacy: what of a client may be told.
        proxies: who may speak for the client.
        all_methods: record an unknown method as it is, instead of ``_OTHER``.
    """

    def __init__(
        self, mode: Semconv, privacy: Privacy, proxies: Proxies, *, all_methods: bool = False
    ) -> None:
        self.all_methods = all_methods
        self.names = REQUEST_NAMES[mode] + RESPONSE_NAMES[mode]
        starts: dict[Semconv, Callable[[WSGIEnvironment, str], Values]] = {
            "old": self._old, "stable": self._stable, "both": self._both,
        }  # fmt: skip
        self.start: Callable[[WSGIEnvironment, str], Values] = starts[mode]
        """``(environ, template of the route) -> values of the request's names``. Never raises."""
        self._twice = mode == "both"
        self._privacy = privacy
        self._proxies = proxies
        self._forwarded = bool(proxies)
        # In mode "off" the place holds the path, and hardly two requests have the same.
        self._shows_path = privacy.mode == "off"
        self._place = lru_cache(maxsize=1024)(self._find_place)

    @staticmethod
    def method_of(begun: Values) -> str:
        """The method among the values that :attr:`start` gave: the first, in every mode."""
        return str(begun[0])

    def values(
        self, begun: Values, status: int | None, size: int | None, error: str | None
    ) -> Values:
        """The values of :attr:`names`.

        Args:
            begun: what :attr:`start` gave.
            status: status code of the answer.
            size: bytes of its body.
            error: ``error.type``: the type of an exception, or the code of a failure.
        """
        if self._twice:
            return (*begun, status, size, status, size, error)
        return (*begun, status, size, error)

    def _old(self, environ: WSGIEnvironment, template: str) -> Values:
        get = environ.get
        privacy = self._privacy
        peer = get("REMOTE_ADDR") or ""
        scheme = get("wsgi.url_scheme") or ""
        if self._forwarded:
            peer, scheme = self._origin(environ, scheme)
        place = self._locate(environ, template, scheme)
        return (
            KNOWN_METHODS.get(get("REQUEST_METHOD") or "") or self._unknown(environ),
            place.url,
            place.target,
            place.scheme,
            _VERSIONS.get(get("SERVER_PROTOCOL") or ""),
            privacy.text(get("HTTP_USER_AGENT") or ""),
            privacy.address(peer),
            place.name,
            place.port,
            _count(get("CONTENT_LENGTH")),
            place.route,
        )

    def _stable(self, environ: WSGIEnvironment, template: str) -> Values:
        get = environ.get
        privacy = self._privacy
        client = peer = get("REMOTE_ADDR") or ""
        scheme = get("wsgi.url_scheme") or ""
        if self._forwarded:
            client, scheme = self._origin(environ, scheme)
        place = self._locate(environ, template, scheme)
        method = get("REQUEST_METHOD") or ""
        known = KNOWN_METHODS.get(method) or self._unknown(environ)
        return (
            known,
            None
            if known == method != OTHER_METHOD
            else privacy.text(text(method)[:MAX_METHOD_LENGTH]),
            place.scheme,
            place.path,
            place.query,
            place.name,
            place.port,
            privacy.address(client),
            privacy.address(peer),
            _VERSIONS.get(get("SERVER_PROTOCOL") or ""),
            privacy.text(get("HTTP_USER_AGENT") or ""),
            _count(get("CONTENT_LENGTH")),
            place.route,
        )

    def _both(self, environ: WSGIEnvironment, template: str) -> Values:
        # http.route ends both.
        return self._old(environ, template)[: len(_OLD_REQUEST)] + self._stable(environ, template)

    def _unknown(self, environ: WSGIEnvironment) -> str:
        """A method that the table does not have; in upper case, as OpenTelemetry captures it."""
        method = text(environ.get("REQUEST_METHOD"))
        if method in KNOWN_METHODS:
            return method
        captured = (
            self._privacy.text(method[:MAX_METHOD_LENGTH].upper()) if self.all_methods else ""
        )
        return captured or OTHER_METHOD

    def _origin(self, environ: WSGIEnvironment, scheme: str) -> tuple[str, str]:
        origin = self._proxies.origin(environ)
        return origin.address, origin.scheme or scheme

    def _locate(self, environ: WSGIEnvironment, template: str, scheme: str) -> Place:
        get = environ.get
        host = get("HTTP_HOST") or ""
        query = get("QUERY_STRING") or ""
        path = ""
        place: Callable[..., Place] = self._place
        if template[:1] != "/" and get("PATH_INFO") == ASTERISK:
            path = ASTERISK
        elif self._shows_path or len(host) + len(query) > MAX_REMEMBERED_LENGTH:
            path = get("PATH_INFO") or ""
            place = self._find_place
        return place(
            template, scheme, host, get("SERVER_NAME"), get("SERVER_PORT"),
            get("SCRIPT_NAME") or "", path, query,
        )  # fmt: skip

    def _find_place(
        self, template: str, scheme: str, host: str, server_name: str | None,
        server_port: str | None, script_name: str, path: str, query: str,
    ) -> Place:  # fmt: skip
        server = authority.server(scheme, host, server_name, server_port)
        where = self._privacy.path(template, script_name, path) if path != ASTERISK else ASTERISK
        told = self._privacy.query(query)
        target = f"{where}?{told}" if told else where
        known = _SCHEMES.get(scheme)
        # A target in asterisk-form or authority-form has no path (RFC 9112, section 3.3).
        has_path = where[:1] in ("/", "")
        return Place(
            f"{known}://{server.netloc}{target if has_path else ''}"
            if server and known
            else target,
            target,
            where if has_path else "",
            told or None,
            known,
            server.name if server else None,
            server.port if server else None,
            template if template[:1] == "/" else None,
        )


class Place(NamedTuple):
    """Where a request went: what its URL and its server contribute.

    Args:
        url: whole, or from the path on where there is no host.
        target: path and query.
        path: percent-encoded.
        query: without its question mark, ``None`` for none.
        scheme: ``http`` or ``https``.
        name: of the server.
        port: of the server.
        route: the template, ``None`` where it is only a word for all that is unknown.
    """

    url: str
    target: str
    path: str
    query: str | None
    scheme: str | None
    name: str | None
    port: int | None
    route: str | None


def _count(digits: str | None) -> int | None:
    if not digits or len(digits) > MAX_COUNT_LENGTH or not (digits.isascii() and digits.isdigit()):
        return None
    return int(digits)
