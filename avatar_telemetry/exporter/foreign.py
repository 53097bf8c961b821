"""Cleaned texts of a collector or a proxy, for a log line and a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote_plus

MIN_SECRET = 4
"""Characters; a shorter value of a header is not a secret, and may occur in any text."""
PIECE = 8
"""Characters of a secret that are recognised as a part of it."""
MAX_TEXT = 1_000
NOT_SHOWN = "(not shown)"
_ENDS = re.compile(r"[\s,;&=]+")


def one_line(text: str, max_length: int = MAX_TEXT) -> str:
    """Return a text on one line of printable characters, cut at a length."""
    line = " ".join(text[: 4 * max_length].split())
    return "".join(each if each.isprintable() else "?" for each in line[:max_length])


class Secrets:
    """Secrets that must not be shown, complete or in parts.

    Args:
        values: the values of headers, and query strings; a scheme before a token is not secret.
    """

    def __init__(self, values: Iterable[str]) -> None:
        parts: set[str] = set()
        for value in values:
            for form in (value, unquote_plus(value)):
                pieces = _ENDS.split(form)
                parts.update([form, *pieces[1:]] if len(pieces) > 1 else [form])
        found = {part for part in parts if len(part) >= MIN_SECRET}
        self._whole = sorted(found, key=len, reverse=True)
        self._pieces = {
            part[start : start + PIECE]
            for part in found
            for start in range(len(part) - PIECE + 1)
            if not _ENDS.search(part)
        }

    def redact(self, text: str) -> str:
        """Return the text without the secrets."""
        for secret in self._whole:
            text = text.replace(secret, NOT_SHOWN)
        if not any(text[at : at + PIECE] in self._pieces for at in range(len(text) - PIECE + 1)):
            return text
        shown, hidden_until = [], 0
        for at in range(len(text)):
            if text[at : at + PIECE] in self._pieces:
                if at >= hidden_until:
                    shown.append(NOT_SHOWN)
                hidden_until = at + PIECE
            elif at >= hidden_until:
                shown.append(text[at])
        return "".join(shown)
