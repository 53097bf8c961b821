"""Convert values of an environ to text.

PEP 3333 requires native strings. Some servers and test clients use other types, such as a number
for ``SERVER_PORT``.
"""

from __future__ import annotations

from typing import Any


def text(value: object) -> str:
    """Return a value as WSGI text: a number in digits, bytes as Latin-1, anything else as empty."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return ""


def as_text(environ: dict[str, Any]) -> dict[str, str]:
    """Return a copy of an environ with its values as text.

    Args:
        environ: the WSGI environment; the copy has no empty values.
    """
    texts = ((key, text(value)) for key, value in environ.items() if isinstance(key, str))
    return {key: value for key, value in texts if value}
