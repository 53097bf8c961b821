"""Remove personal data from free text, such as the message of an exception.

Plain words are kept, so that an operator can distinguish faults. No pattern recognises a name that
is a plain word, too; use the mode ``strict`` where that matters.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from types import CodeType
from typing import NamedTuple
from urllib.parse import unquote_plus, urlsplit

from avatar_telemetry.http import authority

REDACTED = "REDACTED"
MAX_MESSAGE_LENGTH = 1_000
"""Characters of a scrubbed message."""
MAX_READ_LENGTH = 4_000
"""Characters of a message that are read."""

MAX_WORDS = 256
"""Words of a request that are searched; if there are more, no word of a message is kept."""
MAX_SENT = 8_192
"""Characters of a path, a query or a cookie that are read."""

# Every repetition is bounded, is followed by characters that it cannot match, or is tried once for
# a run of its characters: a hostile text takes linear time.
_LOCAL = r"\w.+!#$&*/=?^`{|}~'-"
_EMAIL = rf"(?<![{_LOCAL}])[{_LOCAL}]+(?:@|%40)[\w.-]+"
_EMAILS = re.compile(_EMAIL)
_OPENING = r"(?<!\w)(?:[bBrRuUfF]{1,2})?"
# A quote inside a word is an apostrophe. A pair is certain if no adjacent character could belong to
# another quoted text.
_QUOTES = re.compile(
    rf"""(?P<pair>{_OPENING}(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")(?![\w'"]))|{_OPENING}['"]""",
    re.DOTALL,
)
_MARKS = re.compile(r"""(?<!\w)['"]|['"](?!\w)""")
_PATH = r"[^\s\"'<>]*"
_OWN_PATH = "\ue000"
"""A placeholder for the path of the request, while the rest of a message is scrubbed."""
_PERSONAL = re.compile(
    "|".join(
        (
            r"(?P<sql>\[(?:SQL|parameters): .*)",  # SQLAlchemy ends its messages with both
            r"(?P<url>\b[A-Za-z][A-Za-z0-9+.-]{0,15}://[^\s\"'<>]*)",
            r"\b(?P<word>\w{0,32}(?:pass|pwd|secret|token|key|cookie|session|auth)\w{0,32}"
            r"\s{0,8}[=:])\s{0,8}[^\s,;)(]+",
            r"=\s{0,8}\([^)]*\)?",  # PostgreSQL: Key (username)=(a_name) already exists
            _EMAIL,
            rf"(?<![\w/.])/{_PATH}",
            # A relative path has more than one slash, or other characters than letters after it.
            rf"(?<![\w.+=%~@-])[\w.+=%~@-]+/(?:[^\W\d]*[^\s\"'<>\w,;:!?)\]}}]|[^\W\d]*\d){_PATH}",
            r"[\w+/=%~-]{16,}",
            r"\d{5,}",
        )
    ),
    re.IGNORECASE | re.DOTALL,
)
_WORD = re.compile(r"[^\W\d_]{3,}")
_RUN = re.compile(r"\w+")
_ONE_I = {0x131: "i", 0x307: None}
"""Dotless i, and the combining dot above of the case-folded capital I with a dot."""


class Sent(NamedTuple):
    """Client data of a request in progress.

    Args:
        path: ``PATH_INFO``, decoded like in the application.
        template: the template of its route.
        words: the words of its path, query and cookies.
        has_form: whether it has a body, whose words are unknown.
    """

    path: str
    template: str
    words: frozenset[str]
    has_form: bool


def words_of(*texts: str) -> frozenset[str]:
    """Return the words of three letters or more in texts, also decoded and in lower case."""
    found: set[str] = set()
    for text in texts:
        short = text[:MAX_SENT]
        for form in {short, unquote_plus(short)}:
            words = _WORD.findall(form)
            # Both, because a letter may become two in lower case.
            found.update(words, (word.lower() for word in words))
    return frozenset(found)


def words_of_code(codes: Iterable[CodeType]) -> frozenset[str]:
    """Return the words in the string constants of code, such as the fixed parts of messages."""
    texts = (each for code in codes for each in code.co_consts if isinstance(each, str))
    return words_of(*texts)


def encodable(text: str) -> str:
    """Replace lone surrogates, which OTLP cannot encode."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def emails(text: str) -> str:
    """Redact the e-mail addresses in a text. Never raises."""
    return _EMAILS.sub(REDACTED, text) if "@" in text or "%40" in text else text


def message(text: str, sent: Sent | None = None, known: Collection[str] = ()) -> str:
    """Redact addresses, quoted values, paths, secrets, long tokens, numbers, and the words of a
    request in a message. Never raises.

    Args:
        text: the message, which is truncated to :data:`MAX_READ_LENGTH`.
        sent: the client data of the request that the message may be about.
        known: the words of the program, in lower case: the only words that are kept if the request
            has a form.

    Returns:
        At most :data:`MAX_MESSAGE_LENGTH` characters.
    """
    if len(text) > MAX_READ_LENGTH:
        # A truncated word may be too short to be recognised.
        text = text[:MAX_READ_LENGTH].rpartition(" ")[0]
    text = encodable(text).replace(_OWN_PATH, "?")
    if sent is not None and len(sent.path) > 1:
        text = text.replace(sent.path, _OWN_PATH)
    text = _PERSONAL.sub(_redacted, _without_quoted(text))
    if sent is not None:
        text = _without_words(text, sent, known).replace(_OWN_PATH, sent.template)
    return text[:MAX_MESSAGE_LENGTH]


def _without_quoted(text: str) -> str:
    """Redact quoted texts; everything from the first quote to the last if not all are pairs."""
    if all(match["pair"] for match in _QUOTES.finditer(text)):
        return _QUOTES.sub(REDACTED, text)
    marks = [match.start() for match in _MARKS.finditer(text)]
    # After a quote that is not closed, the rest is redacted.
    end = marks[-1] + 1 if len(marks) % 2 == 0 else len(text)
    return text[: marks[0]] + REDACTED + text[end:]


def _without_words(text: str, sent: Sent, known: Collection[str]) -> str:
    if len(sent.words) > MAX_WORDS:
        return _RUN.sub(REDACTED, text)
    words = set(map(_folded, sent.words))

    def keep(match: re.Match[str]) -> str:
        run = match[0]
        if run == REDACTED:
            return run
        if _contains_any(_folded(run), words):
            return REDACTED
        if sent.has_form and any(word.lower() not in known for word in _WORD.findall(run)):
            return REDACTED
        return run

    return _RUN.sub(keep, text)


def _folded(text: str) -> str:
    """Return a text for comparison without case, with one letter i for those of Turkish."""
    return text.casefold().translate(_ONE_I)


def _contains_any(run: str, words: set[str]) -> bool:
    """Return whether a run contains a word of three letters or more.

    A regular expression of 256 words, which differ for each request, would take 15 ms to compile,
    and would evict those of the application from the cache of ``re``.
    """
    length = len(run)
    if length * length > 2 * len(words):
        return any(word in run for word in words)
    return any(
        run[start:end] in words
        for start in range(length - 2)
        for end in range(start + 3, length + 1)
    )


def _redacted(match: re.Match[str]) -> str:
    if match["url"]:
        return _place(match["url"])
    return (match["word"] or "") + REDACTED


def _place(url: str) -> str:
    """Return scheme and host of a URL, without a password and with the rest redacted."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return REDACTED
    host = authority.parse(parts.netloc.rpartition("@")[2])
    if host is None:
        return REDACTED
    rest = f"/{REDACTED}" if parts.path.strip("/") or parts.query or parts.fragment else ""
    return f"{parts.scheme}://{host.netloc}{rest}"
