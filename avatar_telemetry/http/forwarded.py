"""The client's address, as far as trusted proxies vouch for it.

Each proxy appends the address that it was called from to ``Forwarded`` (RFC 7239) or
``X-Forwarded-For``, so the headers are read from the right, where what a client made up never
stands:

1. Without a trusted peer the client is the peer, whatever the headers say.
2. A trusted peer vouches for the last address of the header; if that is trusted, it vouches for the
   one before it, and so on. The first that is not trusted is the client.
3. What is no address (``unknown``, an obfuscated ``_name``, garbage) ends the walk: the client is
   then the last address that was vouched for, the nearest proxy to it that is known.
4. A proxy that writes one of the two headers often passes the other on as the client sent it. A
   header without which trusted peers have sent a request is none that the proxies write. Where both
   are there and name different clients, the other one counts: ``X-Forwarded-For`` as long as
   nothing else is known, and neither (the client is the peer) where both were absent already.

    proxies = Proxies(settings.trusted_proxies)
    proxies.client_address(environ)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, NamedTuple

from avatar_telemetry.config.parsing import Allow, ip

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

MAX_HEADER_LENGTH = 4096
"""Characters at the right end of a header that are read."""
MAX_HOPS = 32
MAX_NODE_LENGTH = 128
REMEMBERED = 1024
MAX_REMEMBERED_LENGTH = 256

# Not from the middle of a run of backslashes: that would take time as the square of its length.
_QUOTE_OR_COMMA = re.compile(r'(?<!\\)\\*"|,')
_PAIR = re.compile(
    r"""[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)=   # a token, RFC 9110, section 5.6.2
    (?:"((?:[^"\\]|\\.)*)"|([^\s",;]*))        # quoted, or more than a token may hold: colons
    [ \t]*(?:;|\Z)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
# A port may be obfuscated, too (RFC 7239, section 6).
_PORT = re.compile(r"(?::(?:[0-9]{1,5}|_[\w.-]+))?", re.ASCII)


class Origin(NamedTuple):
    """What is vouched for.

    Args:
        address: of the client; empty where it is a unix socket.
        scheme: ``http`` or ``https`` as the client used it, ``None`` where nobody says.
    """

    address: str
    scheme: str | None


class _Conflict(NamedTuple):
    """Two headers that name different clients."""

    peer: str
    by_rfc: str
    by_custom: str
    scheme: str | None


class Proxies:
    """The trusted proxies of a deployment. False where there are none.

    Args:
        trusted: whose word is taken; ``unix`` for a peer on a unix socket, which has no address.
    """

    def __init__(self, trusted: Allow) -> None:
        self._any = trusted.unix or bool(trusted.networks)
        # Most requests of a client look alike; the cache spares them all parsing.
        self._remembered = lru_cache(REMEMBERED)(self._origin)
        self._trusts = lru_cache(REMEMBERED)(trusted.holds)
        self._only_rfc_seen = self._only_custom_seen = False

    def __bool__(self) -> bool:
        return self._any

    def client_address(self, environ: WSGIEnvironment) -> str:
        """The address of the client, empty where it is a unix socket. Never raises."""
        return self.origin(environ).address

    def origin(self, environ: WSGIEnvironment) -> Origin:
        """The client's address and the scheme that it used. Never raises."""
        get = environ.get
        peer = get("REMOTE_ADDR") or ""
        if not self._any:
            return Origin(peer, None)
        forwarded = get("HTTP_FORWARDED") or ""
        forwarded_for = get("HTTP_X_FORWARDED_FOR") or ""
        proto = get("HTTP_X_FORWARDED_PROTO") or ""
        if len(forwarded) + len(forwarded_for) + len(proto) > MAX_REMEMBERED_LENGTH:
            found = self._origin(peer, _right_end(forwarded), _right_end(forwarded_for), proto)
        else:
            found = self._remembered(peer, forwarded, forwarded_for, proto)
        return self._settle(found) if isinstance(found, _Conflict) else found

    def _settle(self, found: _Conflict) -> Origin:
        if not self._only_rfc_seen:
            return Origin(found.by_custom, found.scheme)
        address = found.peer if self._only_custom_seen else found.by_rfc
        return Origin(address, found.scheme)

    def _origin(
        self, peer: str, forwarded: str, forwarded_for: str, proto: str
    ) -> Origin | _Conflict:
        forwarded, forwarded_for = forwarded.strip(), forwarded_for.strip()
        parsed = parse_address(peer)
        address = str(parsed) if parsed else peer
        if not self._trusts(address):
            return Origin(address, None)
        by_rfc, scheme = self._walk(address, map(_read_element, elements(forwarded)))
        plain = ((node.strip(), None) for node in reversed(forwarded_for.split(",")))
        by_custom, _ = self._walk(address, plain)
        scheme = _scheme(proto.rpartition(",")[2]) or scheme
        if forwarded and forwarded_for and by_rfc != by_custom:
            return _Conflict(address, by_rfc, by_custom, scheme)
        self._only_rfc_seen |= bool(forwarded and not forwarded_for)
        self._only_custom_seen |= bool(forwarded_for and not forwarded)
        return Origin(by_rfc if forwarded else by_custom, scheme)

    def _walk(self, address: str, hops: Iterator[tuple[str, str | None]]) -> tuple[str, str | None]:
        scheme = None
        for (node, proto), _ in zip(hops, range(MAX_HOPS), strict=False):
            scheme = proto or scheme
            parsed = parse_address(node)
            if parsed is None:
                break
            address = str(parsed)
            if not self._trusts(address):
                break
        return address, scheme


def parse_address(node: str) -> IPv4Address | IPv6Address | None:
    """Read an address, with or without brackets and port. Never raises.

    Returns:
        As :func:`avatar_telemetry.config.parsing.ip` has it.
    """
    if len(node) > MAX_NODE_LENGTH:
        return None
    host, port = node, ""
    if node[:1] == "[":
        host, bracket, port = node[1:].partition("]")
        if not bracket or ":" not in host:
            return None
    elif node.count(":") == 1:
        host, colon, port = node.partition(":")
        port = colon + port
    if not _PORT.fullmatch(port):
        return None
    return ip(host)


def elements(forwarded: str) -> Iterator[str]:
    """The elements of a ``Forwarded`` header from right to left.

    Reading from the right keeps a quote that a client left open from swallowing what a proxy
    appended after it. A quote behind an odd number of backslashes is text.
    """
    end, quoted = len(forwarded), False
    for mark in reversed(list(_QUOTE_OR_COMMA.finditer(forwarded))):
        if mark[0] != ",":
            quoted ^= len(mark[0]) % 2 == 1
        elif not quoted:
            yield forwarded[mark.end() : end]
            end = mark.start()
    yield forwarded[:end]


def _read_element(element: str) -> tuple[str, str | None]:
    """The node of ``for=`` and the scheme of ``proto=``; nothing where the element is malformed."""
    pairs: dict[str, str] = {}
    position, end = 0, len(element.rstrip(" \t"))
    while position < end:
        match = _PAIR.match(element, position)
        if match is None:
            return "", None
        value = match[3] if match[2] is None else _ESCAPE.sub(r"\1", match[2])
        pairs.setdefault(match[1].lower(), value)
        position = match.end()
    return pairs.get("for", ""), _scheme(pairs.get("proto", ""))


def _scheme(text: str) -> str | None:
    word = text.strip().lower()
    return word if word in ("http", "https") else None


def _right_end(header: str) -> str:
    if len(header) <= MAX_HEADER_LENGTH:
        return header
    # The mark spoils the element that was cut through: half an address can be an address.
    return "?" + header[-MAX_HEADER_LENGTH:]
