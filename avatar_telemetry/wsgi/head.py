"""Extract the status and the headers of a response that are recorded."""

from __future__ import annotations

from avatar_telemetry.http import labels
from avatar_telemetry.http.environ import text

# Name of a response header, in the case that the application uses -> its meaning.
_MEANINGS: dict[str, int] = {}
_CODES: dict[str, str] = {}
"""Status line -> code, of the lines that applications send."""
_OTHER, _TYPE, _LENGTH, _LOCATION = range(4)
_LOOKED_AT = {"content-type": _TYPE, "content-length": _LENGTH, "location": _LOCATION}
MAX_NAMES = 256
MAX_LENGTH_DIGITS = 18
"""Digits of a valid Content-Length, which must fit into an int64 of OTLP."""


Head = tuple[str, str, str, str]
"""Status code (``other`` if the status line has none), and the values of ``Content-Type``,
``Location`` and ``Content-Length``, each empty if it is absent."""


def observe_head(status: str, headers: list[tuple[str, str]]) -> Head:
    """Return the recorded values of a head.

    Args:
        status: the status line without the protocol.
        headers: the headers of the application; values that violate PEP 3333 may raise.
    """
    content_type = location = length = ""
    meanings = _MEANINGS
    for name, value in headers:
        try:  # costs half of get()
            meaning = meanings[name]
        except KeyError:
            meaning = _meaning(name)
        if not meaning:
            continue
        if meaning == _TYPE:
            content_type = value
        elif meaning == _LENGTH:
            length = value
        else:
            location = value
    try:
        return _CODES[status], content_type, location, length
    except KeyError:
        return _code(status), content_type, location, length


def is_length(value: str) -> bool:
    """Return whether a value of ``Content-Length`` is valid."""
    return value.isdecimal() and len(value) <= MAX_LENGTH_DIGITS


def _code(status: str) -> str:
    """Return the code of a status line, three digits before its reason (RFC 9112, section 4).

    Args:
        status: the status line of the application; ``other`` if it has no such code.
    """
    line = text(status)
    code = line[:3]
    if line[3:4].strip(" ") or labels.status(code) == labels.OTHER:
        return labels.OTHER
    if len(_CODES) < MAX_NAMES:
        _CODES[status] = code
    return code


def _meaning(name: str) -> int:
    meaning = _LOOKED_AT.get(name.lower(), _OTHER)
    if len(_MEANINGS) < MAX_NAMES:
        _MEANINGS[name] = meaning
    return meaning
