"""Determine the client address from the headers of trusted proxies.

Each proxy appends the address of its peer to ``Forwarded`` (RFC 7239) or ``X-Forwarded-For``, so
the headers are read from the right, because a client can only forge their left part:

1. If the peer is not trusted, the client is the peer, and the headers are ignored.
2. A trusted peer reports the last address of the header; if that is trusted, it reports the address
   before it, and so on. The first address that is not trusted is the client.
3. A node that is not an address (``unknown``, an obfuscated ``_name``, an invalid text) stops this:
   the client is the last address that a trusted peer reported, the nearest known proxy.
4. A proxy that writes one of the two headers often forwards the other one from the client. If
   trusted peers have sent a request without a header, the proxies do not write that header. If both
   are present and differ, the header that was always present is used: ``X-Forwarded-For`` by
   default, and neither (the client is the peer) if both were absent before.

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
"""Characters that are read, at the right end of a header."""
MAX_HOPS = 32
MAX_NODE_LENGTH = 128
CACHE_SIZE = 1024
MAX_CACHED_LENGTH = 256

# Not from the middle of a run of backslashes, which would take quadratic time.
_QUOTE_OR_COMMA = re.compile(r'(?<!\\)\\*"|,')
_PAIR = re.compile(
    r"""[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)=   # a token, RFC 9110, section 5.6.2
    (?:"((?:[^"\\]|\\.)*)"|([^\s",;]*))        # quoted, or a token that may contain colons
    [ \t]*(?:;|\Z)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
# A port may be obfuscated, too (RFC 7239, section 6).
_PORT = re.compile(r"(?::(?:[0-9]{1,5}|_[\w.-]+))?", re.ASCII)


class Origin(NamedTuple):
    """The origin of a request, as trusted proxies report it.

    Args:
        address: the address of the client; empty for a unix socket.
        scheme: the scheme that the client used, ``http`` or ``https``; ``None`` if not reported.
    """

    address: str
    scheme: str | None


class _Conflict(NamedTuple):
    """Two headers with different client addresses."""

    peer: str
    by_rfc: str
    by_custom: str
    scheme: str | None


class Proxies:
    """The trusted proxies of a deployment. False if there are none.

    Args:
        trusted: the networks of the proxies; ``unix`` for a peer on a unix socket.
    """

    def __init__(self, trusted: Allow) -> None:
        self._any = trusted.unix or bool(trusted.networks)
        # Most requests of a client have the same headers.
        self._cached = lru_cache(CACHE_SIZE)(self._origin)
        self._trusts = lru_cache(CACHE_SIZE)(trusted.holds)
        self._only_rfc_seen = self._only_custom_seen = False

    def __bool__(self) -> bool:
        return self._any

    def client_address(self, environ: WSGIEnvironment) -> str:
        """Return the address of the client; empty for a unix socket. Never raises."""
        return self.origin(environ).address

    def origin(self, environ: WSGIEnvironment) -> Origin:
        """Return the client's address and scheme. Never raises."""
        get = environ.get
        peer = get("REMOTE_ADDR") or ""
        if not self._any:
            return Origin(peer, None)
        forwarded = get("HTTP_FORWARDED") or ""
        forwarded_for = get("HTTP_X_FORWARDED_FOR") or ""
        proto = get("HTTP_X_FORWARDED_PROTO") or ""
        if len(forwarded) + len(forwarded_for) + len(proto) > MAX_CACHED_LENGTH:
            found = self._origin(peer, _right_end(forwarded), _right_end(forwarded_for), proto)
        else:
            found = self._cached(peer, forwarded, forwarded_for, proto)
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
    """Parse an address, with or without brackets and port. Never raises.

    Returns:
        See :func:`avatar_telemetry.config.parsing.ip`.
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
    """Yield the elements of a ``Forwarded`` header from right to left.

    In this order a quote that a client left open cannot hide the elements that a proxy appended. A
    quote after an odd number of backslashes is text.
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
    """Return the node of ``for=`` and the scheme of ``proto=``; empty for a malformed element."""
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
    scheme = text.strip().lower()
    return scheme if scheme in ("http", "https") else None


def _right_end(header: str) -> str:
    if len(header) <= MAX_HEADER_LENGTH:
        return header
    # The mark invalidates a truncated element: a part of an address can be an address.
    return "?" + header[-MAX_HEADER_LENGTH:]
