"""Parse the host and port of a request.

A client controls the Host header, and on a unix socket gunicorn also derives ``SERVER_NAME`` and
``SERVER_PORT`` from it: none of the three is used before it is validated.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv6Address
from typing import NamedTuple

# RFC 1035, section 2.3.4.
MAX_NAME_LENGTH = 255
MAX_LENGTH = MAX_NAME_LENGTH + len("[]:65535")
MAX_PORT = 65_535
DEFAULT_PORTS = {"http": 80, "https": 443}

_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._~-]{1,255})(?::([0-9]{0,5}))?")


class Authority(NamedTuple):
    """A host and its port.

    Args:
        netloc: the host and port of a URL.
        name: the host without port, an IPv6 address without brackets.
        port: the port, or ``None`` if it is unknown.
    """

    netloc: str
    name: str
    port: int | None


def parse(text: str) -> Authority | None:
    """Parse ``host[:port]`` (RFC 3986, section 3.2, without user information). Never raises.

    Returns:
        ``None`` for any other text, such as a name that is not ASCII: a Host header has its ASCII
        form (RFC 5890).
    """
    return _parse(text) if len(text) <= MAX_LENGTH else None


def server(
    scheme: str, host: str | None, server_name: str | None, server_port: str | None
) -> Authority | None:
    """Return the server that a request was sent to. Never raises.

    Args:
        scheme: ``wsgi.url_scheme``.
        host: the Host header. Without a port it has the default port of the scheme: a server behind
            a proxy listens on another port than the client used.
        server_name: ``SERVER_NAME``, used if the header is invalid.
        server_port: ``SERVER_PORT``.

    Returns:
        ``None`` if neither is a host name.
    """
    default = DEFAULT_PORTS.get(scheme)
    found = parse(host) if host else None
    if found is not None:
        return found if found.port else found._replace(port=default)
    name = server_name or ""
    found = parse(f"[{name}]" if name.count(":") > 1 and name[0] != "[" else name)
    if found is None:
        return None
    port = port_number(server_port or "") or found.port
    bare = f"[{found.name}]" if ":" in found.name else found.name
    return Authority(bare if port in (None, default) else f"{bare}:{port}", found.name, port)


def port_number(text: str) -> int | None:
    """Parse a port from 1 to 65535; ``None`` for any other text."""
    if not (text.isascii() and text.isdigit() and len(text) <= 5):
        return None
    return int(text) if 0 < int(text) <= MAX_PORT else None


@lru_cache(maxsize=1024)
def _parse(text: str) -> Authority | None:
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        return None
    name, port = match[1], port_number(match[2] or "")
    if match[2] and port is None:
        return None
    if name[0] == "[":
        name = name[1:-1]
        try:
            IPv6Address(name)
        except ValueError:
            return None
    return Authority(text, name, port)
