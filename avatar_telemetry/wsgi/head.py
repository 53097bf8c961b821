"""The head of an answer: what its status and headers say of the request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from avatar_telemetry.client.environ import text
from avatar_telemetry.store import labels

if TYPE_CHECKING:
    from avatar_telemetry.wsgi.request import AvatarRequest

# What a response header means to us, by its name as it was spelled; most applications spell a few.
_MEANINGS: dict[str, str] = {}
_CODES: dict[str, str] = {}
"""Status line -> code, of the lines that applications send."""
_LOOKED_AT = ("content-length", "content-type", "location")
MAX_NAMES = 256


def observe_head(request: AvatarRequest, status: str, headers: list[tuple[str, str]]) -> None:
    """Keep what counts of a head. A later one, such as of an error page, takes its place.

    Args:
        request: that is answered.
        status: status line without the protocol.
        headers: as the application gave them; anything else than PEP 3333 asks for may raise.
    """
    request.status = _CODES.get(status) or _code(status)
    request.content_type = request.location = ""
    request.unsent = 0
    request.announced = None
    for name, value in headers:
        meaning = _MEANINGS.get(name)
        if meaning is None:
            meaning = _meaning(name)
        if meaning == "":
            continue
        if meaning == "content-type":
            request.content_type = value
        elif meaning == "location":
            request.location = value
        elif value.isdecimal():
            request.announced = int(value)
            request.unsent = 0 if request.method == "HEAD" else request.announced
    request.response_headers = headers


def _code(status: str) -> str:
    """The code of a status line, three digits before its reason (RFC 9112, section 4).

    Args:
        status: as the application gave it; ``other`` where it has no such code.
    """
    line = text(status)
    code = line[:3]
    if line[3:4].strip(" ") or labels.status(code) == labels.OTHER:
        return labels.OTHER
    if len(_CODES) < MAX_NAMES:
        _CODES[status] = code
    return code


def _meaning(name: str) -> str:
    lower = name.lower()
    meaning = lower if lower in _LOOKED_AT else ""
    if len(_MEANINGS) < MAX_NAMES:
        _MEANINGS[name] = meaning
    return meaning
