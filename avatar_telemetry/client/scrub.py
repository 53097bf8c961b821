"""Personal parts taken out of free text, which nobody wrote with telemetry in mind.

What stays is what an operator needs to tell one fault from another: the plain words. No pattern
knows a name when it is a plain word too; that is what the mode ``strict`` is for.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from avatar_telemetry.client import authority

REDACTED = "REDACTED"
LONGEST_MESSAGE = 1_000
"""Characters of a scrubbed message."""
LONGEST_READ = 4_000
"""Characters of a message that are looked at."""

# Every repetition is bounded or followed by what it cannot match: a hostile text costs linear time.
_EMAIL = r"[\w.+!#$&*/=?^`{|}~'-]{1,64}(?:@|%40)[\w.-]{1,255}"
_EMAILS = re.compile(_EMAIL)
_PERSONAL = re.compile(
    "|".join(
        (
            r"(?P<sql>\[(?:SQL|parameters): .*)",  # SQLAlchemy ends its messages with both
            r"(?P<url>\b[A-Za-z][A-Za-z0-9+.-]{0,15}://[^\s\"'<>]*)",
            # A quote inside a word is an apostrophe; one that never closes hides the rest.
            r"(?<!\w)(?:[bBrRuUfF]{1,2})?'(?:[^'\\]|\\.)*(?:'|\\?\Z)",
            r'(?<!\w)(?:[bBrRuUfF]{1,2})?"(?:[^"\\]|\\.)*(?:"|\\?\Z)',
            r"\b(?P<word>\w{0,32}(?:pass|pwd|secret|token|key|cookie|session|auth)\w{0,32}"
            r"\s{0,8}[=:])\s{0,8}[^\s,;)(]+",
            r"=\s{0,8}\([^)]*\)?",  # PostgreSQL: Key (username)=(somebody) already exists
            _EMAIL,
            r"[\w+/=%~-]{16,}",
            r"\d{5,}",
        )
    ),
    re.IGNORECASE | re.DOTALL,
)


def encodable(text: str) -> str:
    """The same text with lone surrogates, which OTLP cannot carry, replaced."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def emails(text: str) -> str:
    """A text without its e-mail addresses. Never raises."""
    return _EMAILS.sub(REDACTED, text) if "@" in text or "%40" in text else text


def message(text: str) -> str:
    """A message without addresses, quoted values, secrets, long tokens and numbers. Never raises.

    Args:
        text: of any length; what is far behind is not read.

    Returns:
        At most :data:`LONGEST_MESSAGE` characters.
    """
    if len(text) > LONGEST_READ:
        # The word that was cut through may be too short now to be known for what it is.
        text = text[:LONGEST_READ].rpartition(" ")[0]
    return _PERSONAL.sub(_redacted, encodable(text))[:LONGEST_MESSAGE]


def _redacted(match: re.Match[str]) -> str:
    if match["url"]:
        return _place(match["url"])
    return (match["word"] or "") + REDACTED


def _place(url: str) -> str:
    """Scheme and host of a URL: it may carry a password before them and anything behind."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return REDACTED
    host = authority.parse(parts.netloc.rpartition("@")[2])
    if host is None:
        return REDACTED
    rest = f"/{REDACTED}" if parts.path.strip("/") or parts.query or parts.fragment else ""
    return f"{parts.scheme}://{host.netloc}{rest}"
