"""Names and values of a server span's HTTP attributes, by ``OTEL_SEMCONV_STABILITY_OPT_IN``.

    attributes = HttpAttributes("both", privacy, proxies)
    target, agent, addresses = attributes.read(environ, route.template)
    dict(zip(TARGET_NAMES["both"], attributes.target(target)))  # None: absent

The attributes of a request are grouped by the raw values that they are derived from, so that a
group can be encoded once for many requests. The mode determines the names of a group, and its
values have the same order. Old names are those of the semantic conventions before 1.23, and
``http.remote_addr``.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from avatar_telemetry.config.settings import Semconv
from avatar_telemetry.http import authority
from avatar_telemetry.http.environ import text
from avatar_telemetry.http.forwarded import Proxies
from avatar_telemetry.http.labels import KNOWN_METHODS
from avatar_telemetry.http.privacy import Privacy

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

Value = str | int | None
Values = tuple[Value, ...]

AVATAR_NAMES = (
    "ivatar.request_type", "ivatar.avatar_size", "ivatar.avatar_format", "ivatar.avatar_digest",
    "ivatar.avatar_email",
)  # fmt: skip
FILE_NAMES = ("file.name", "file.size", "file.content_type")

_OLD_TARGET = (
    "http.method", "http.url", "http.target", "http.scheme", "http.flavor", "net.host.name",
    "net.host.port", "http.request_content_length",
)  # fmt: skip
_STABLE_TARGET = (
    "http.request.method", "http.request.method_original", "url.scheme", "url.path", "url.query",
    "server.address", "server.port", "network.protocol.version", "http.request.body.size",
)  # fmt: skip
_SHARED_TARGET = ("http.route",)
Names = Mapping[Semconv, tuple[str, ...]]


def _names(old: tuple[str, ...], stable: tuple[str, ...], shared: tuple[str, ...] = ()) -> Names:
    return {"old": old + shared, "stable": stable + shared, "both": old + stable + shared}


TARGET_NAMES = _names(_OLD_TARGET, _STABLE_TARGET, _SHARED_TARGET)
AGENT_NAMES = _names(("http.user_agent",), ("user_agent.original",))
ADDRESS_NAMES = _names(("http.remote_addr",), ("client.address", "network.peer.address"))
STATUS_NAMES = _names(("http.status_code",), ("http.response.status_code",), ("error.type",))
SIZE_NAMES = _names(("http.response_content_length",), ("http.response.body.size",))
REQUEST_NAMES: Names = {
    mode: (*TARGET_NAMES[mode], *AGENT_NAMES[mode], *ADDRESS_NAMES[mode]) for mode in TARGET_NAMES
}
RESPONSE_NAMES: Names = {mode: (*STATUS_NAMES[mode], *SIZE_NAMES[mode]) for mode in STATUS_NAMES}

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
"""Digits of a valid Content-Length, which must fit into an int64 of OTLP."""
MAX_CACHED_LENGTH = 512
"""Characters of client data in a cached key."""


class Target(NamedTuple):
    """The raw values of an environ that determine the target of a request.

    Args:
        template: the template of its route.
        path: ``PATH_INFO`` if the attributes depend on it, else empty.
        scheme: the scheme that the client used.
        length: ``CONTENT_LENGTH``.
        method: ``REQUEST_METHOD``.
        host: ``HTTP_HOST``.
        server_name: ``SERVER_NAME``.
        server_port: ``SERVER_PORT``.
        script_name: ``SCRIPT_NAME``.
        query: ``QUERY_STRING``.
        protocol: ``SERVER_PROTOCOL``.
    """

    template: str
    path: str
    scheme: str
    length: str | None
    method: str
    host: str
    server_name: str | None
    server_port: str | None
    script_name: str
    query: str
    protocol: str


RawTarget = tuple[str, str, "str | None", str, tuple["str | None", ...]]
"""Template, path, length and scheme, and the values of ``_KEYS``; creating a named tuple costs six
times as much."""
_KEYS = (
    "REQUEST_METHOD", "HTTP_HOST", "SERVER_NAME", "SERVER_PORT", "SCRIPT_NAME", "QUERY_STRING",
    "SERVER_PROTOCOL",
)  # fmt: skip
_PEER_KEYS = ("REMOTE_ADDR", "wsgi.url_scheme", "PATH_INFO", "HTTP_USER_AGENT")
_read_keys, _read_peer_keys = itemgetter(*_KEYS), itemgetter(*_PEER_KEYS)
Peer = tuple[str, str]
"""The addresses of the client and of the peer, which may be a proxy."""


class HttpAttributes:
    """The values of the HTTP attributes of requests.

    Args:
        mode: the names: ``old``, ``stable`` or ``both``.
        privacy: the redaction of client data.
        proxies: the proxies trusted to report the client address.
        all_methods: whether an unknown method is recorded unchanged, instead of as ``_OTHER``.
    """

    def __init__(
        self, mode: Semconv, privacy: Privacy, proxies: Proxies, *, all_methods: bool = False
    ) -> None:
        self.all_methods = all_methods
        self.mode = mode
        self._old, self._stable = mode != "stable", mode != "old"
        self._privacy = privacy
        self._proxies = proxies
        self._forwarded = bool(proxies)
        # In mode "off" the attributes contain the path, which few requests share.
        self._shows_path = privacy.mode == "off"

    def read(self, environ: WSGIEnvironment, template: str) -> tuple[RawTarget, str, Peer]:
        """Return the raw values of a request: target, user agent and addresses.

        Args:
            environ: the WSGI environment.
            template: the template of the route.
        """
        try:  # two calls are enough for nearly every request
            values = _read_keys(environ)
            client, scheme, path, agent = _read_peer_keys(environ)
        except KeyError:
            values = tuple(map(environ.get, _KEYS))
            client, scheme, path, agent = (environ.get(key) or "" for key in _PEER_KEYS)
        peer = client
        if self._forwarded:
            origin = self._proxies.origin(environ)
            client, scheme = origin.address, origin.scheme or scheme
        if not self._shows_path and (path != ASTERISK or template.startswith("/")):
            path = ""
        target = (template, path, environ.get("CONTENT_LENGTH"), scheme, values)
        return target, agent, (client, peer)

    def keeps(self, target: RawTarget) -> bool:
        """Return whether the values of a target are cached."""
        lengths = map(len, filter(None, (*target[:4], *target[4])))
        return not self._shows_path and sum(lengths) <= MAX_CACHED_LENGTH

    def target(self, raw: RawTarget) -> Values:
        """Return the values of :data:`TARGET_NAMES`. Never raises for text."""
        template, path, length, scheme, (method, host, name, port, *rest) = raw
        target = Target(
            template, path, scheme, length, method or "", host or "", name, port,
            *(value or "" for value in rest),
        )  # fmt: skip
        place = self._find_place(target)
        known = KNOWN_METHODS.get(target.method) or self._unknown(target.method)
        version, body = _VERSIONS.get(target.protocol), _count(target.length)
        old: Values = (
            known, place.url, place.target, place.scheme, version, place.name, place.port, body,
        )  # fmt: skip
        if not self._stable:
            return (*old, place.route)
        original = None
        if not known == target.method != OTHER_METHOD:
            original = self._privacy.text(text(target.method)[:MAX_METHOD_LENGTH])
        return (
            *(old if self._old else ()), known, original, place.scheme, place.path, place.query,
            place.name, place.port, version, body, place.route,
        )  # fmt: skip

    def agent(self, agent: str) -> Values:
        """Return the values of :data:`AGENT_NAMES`."""
        value = self._privacy.text(agent)
        return (value, value) if self.mode == "both" else (value,)

    def address(self, addresses: Peer) -> Values:
        """Return the values of :data:`ADDRESS_NAMES`."""
        client = self._privacy.address(addresses[0])
        if not self._stable:
            return (client,)
        peer = self._privacy.address(addresses[1])
        return (client, client, peer) if self._old else (client, peer)

    def status(self, status: int | None, error: str | None) -> Values:
        """Return the values of :data:`STATUS_NAMES`.

        Args:
            status: the status code of the response.
            error: ``error.type``: the type of an exception, or the code of a failure.
        """
        return (status, status, error) if self.mode == "both" else (status, error)

    def size(self, size: int | None) -> Values:
        """Return the values of :data:`SIZE_NAMES`: the bytes of the body of the response."""
        return (size, size) if self.mode == "both" else (size,)

    def _unknown(self, method: object) -> str:
        """Return the value for an unknown method; in upper case, as in OpenTelemetry."""
        name = text(method)
        if name in KNOWN_METHODS:
            return name
        captured = self._privacy.text(name[:MAX_METHOD_LENGTH].upper()) if self.all_methods else ""
        return captured or OTHER_METHOD

    def _find_place(self, request: Target) -> Place:
        template, scheme, path = request.template, request.scheme, request.path
        where = ASTERISK
        if path != ASTERISK:
            where = self._privacy.path(template, request.script_name, path)
        server = authority.server(scheme, request.host, request.server_name, request.server_port)
        query = self._privacy.query(request.query)
        target = f"{where}?{query}" if query else where
        known = _SCHEMES.get(scheme)
        # A target in asterisk-form or authority-form has no path (RFC 9112, section 3.3).
        has_path = where[:1] in ("/", "")
        return Place(
            f"{known}://{server.netloc}{target if has_path else ''}"
            if server and known
            else target,
            target,
            where if has_path else "",
            query or None,
            known,
            server.name if server else None,
            server.port if server else None,
            template if template[:1] == "/" else None,
        )


class Place(NamedTuple):
    """The values that follow from the URL and the server of a request.

    Args:
        url: the URL, without scheme and host if the host is unknown.
        target: the path and the query.
        path: the path, percent-encoded.
        query: the query without its question mark, or ``None``.
        scheme: ``http`` or ``https``.
        name: the name of the server.
        port: the port of the server.
        route: the template of the route, or ``None`` if the route is unknown.
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
