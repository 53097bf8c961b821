"""Values of an environ that are no text.

PEP 3333 asks for native strings. Some servers and test clients put other types there, such as a
number for ``SERVER_PORT``.
"""

from __future__ import annotations

from typing import Any


def text(value: object) -> str:
    """A value as WSGI text: a number in digits, bytes as Latin-1, and empty for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return ""


def as_text(environ: dict[str, Any]) -> dict[str, str]:
    """A copy of an environ that has only text, for reading what a request says of itself.

    Args:
        environ: the WSGI environment; what has no text in it is left out of the copy.
    """
    texts = ((key, text(value)) for key, value in environ.items() if isinstance(key, str))
    return {key: value for key, value in texts if value}
