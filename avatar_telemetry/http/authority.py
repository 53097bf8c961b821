"""The host and port of a request, as far as what was sent for them is one.

A client writes the Host header, and on a unix socket gunicorn splits ``SERVER_NAME`` and
``SERVER_PORT`` out of it too: none of the three is believed before it is parsed.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv6Address
from typing import NamedTuple

# RFC 1035, section 2.3.4.
MAX_NAME_LENGTH = 255
MAX_LENGTH = MAX_NAME_LENGTH + len("[]:65535")
LARGEST_PORT = 65_535
DEFAULT_PORTS = {"http": 80, "https": 443}

_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._~-]{1,255})(?::([0-9]{0,5}))?")


class Authority(NamedTuple):
    """A host and its port.

    Args:
        netloc: as it stands in a URL.
        name: without port, an IPv6 address without brackets.
        port: ``None`` where none is known.
    """

    netloc: str
    name: str
    port: int | None


def parse(text: str) -> Authority | None:
    """Read ``host[:port]`` (RFC 3986, section 3.2, without user information). Never raises.

    Returns:
        ``None`` where the text is anything else. A name that is not ASCII is something else: in a
        Host header it stands in its ASCII form (RFC 5890).
    """
    return _parse(text) if len(text) <= MAX_LENGTH else None


def server(
    scheme: str, host: str | None, server_name: str | None, server_port: str | None
) -> Authority | None:
    """The server that a request was sent to. Never raises.

    Args:
        scheme: ``wsgi.url_scheme``.
        host: the Host header. Without a port it names the scheme's own one: the port that a server
            behind a proxy listens on is not what the client asked for.
        server_name: ``SERVER_NAME``, where the header does not do.
        server_port: ``SERVER_PORT``.

    Returns:
        ``None`` where neither is a host name.
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
    """A port from 1 to 65535, else ``None``."""
    if not (text.isascii() and text.isdigit() and len(text) <= 5):
        return None
    return int(text) if 0 < int(text) <= LARGEST_PORT else None


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
