"""Personal parts taken out of free text, which nobody wrote with telemetry in mind.

What stays is what an operator needs to tell one fault from another: the plain words. No pattern
knows a name when it is a plain word too; that is what the mode ``strict`` is for.
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
"""Characters of a message that are looked at."""

MAX_WORDS = 256
"""Words of a request that are looked for; where there are more, no word of a message is kept."""
MAX_SENT = 8_192
"""Characters of a path, a query or a cookie that are looked at."""

# Every repetition is bounded, followed by what it cannot match, or tried once for a run of its
# characters: a hostile text costs linear time.
_LOCAL = r"\w.+!#$&*/=?^`{|}~'-"
_EMAIL = rf"(?<![{_LOCAL}])[{_LOCAL}]+(?:@|%40)[\w.-]+"
_EMAILS = re.compile(_EMAIL)
_OPENING = r"(?<!\w)(?:[bBrRuUfF]{1,2})?"
# A quote inside a word is an apostrophe. A pair is sure where nothing touches it that could be
# quoted, too.
_QUOTES = re.compile(
    rf"""(?P<pair>{_OPENING}(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")(?![\w'"]))|{_OPENING}['"]""",
    re.DOTALL,
)
_MARKS = re.compile(r"""(?<!\w)['"]|['"](?!\w)""")
_PATH = r"[^\s\"'<>]*"
_OWN_PATH = "\ue000"
"""Stands for the path of the request until the rest of a message is scrubbed."""
_PERSONAL = re.compile(
    "|".join(
        (
            r"(?P<sql>\[(?:SQL|parameters): .*)",  # SQLAlchemy ends its messages with both
            r"(?P<url>\b[A-Za-z][A-Za-z0-9+.-]{0,15}://[^\s\"'<>]*)",
            r"\b(?P<word>\w{0,32}(?:pass|pwd|secret|token|key|cookie|session|auth)\w{0,32}"
            r"\s{0,8}[=:])\s{0,8}[^\s,;)(]+",
            r"=\s{0,8}\([^)]*\)?",  # PostgreSQL: Key (username)=(somebody) already exists
            _EMAIL,
            rf"(?<![\w/.])/{_PATH}",
            # A relative path has more than one slash, or something besides letters behind it.
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
"""Dotless i, and the combining dot above that the case-folded capital I with a dot has."""


class Sent(NamedTuple):
    """Client data of a request in progress.

    Args:
        path: ``PATH_INFO`` as the application reads it.
        template: of its route.
        words: of its path, query and cookies.
        has_form: whether it has a body, whose words are unknown.
    """

    path: str
    template: str
    words: frozenset[str]
    has_form: bool


def words_of(*texts: str) -> frozenset[str]:
    """The words of three letters or more in texts, percent-encoded or not, and in lower case."""
    found: set[str] = set()
    for text in texts:
        short = text[:MAX_SENT]
        for form in {short, unquote_plus(short)}:
            words = _WORD.findall(form)
            # Both, since a letter may be two in lower case.
            found.update(words, (word.lower() for word in words))
    return frozenset(found)


def words_of_code(codes: Iterable[CodeType]) -> frozenset[str]:
    """The words in the texts of a program, such as the fixed parts of its messages."""
    texts = (each for code in codes for each in code.co_consts if isinstance(each, str))
    return words_of(*texts)


def encodable(text: str) -> str:
    """The same text with lone surrogates, which OTLP cannot carry, replaced."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def emails(text: str) -> str:
    """A text without its e-mail addresses. Never raises."""
    return _EMAILS.sub(REDACTED, text) if "@" in text or "%40" in text else text


def message(text: str, sent: Sent | None = None, known: Collection[str] = ()) -> str:
    """A message without addresses, quoted values, paths, secrets, long tokens and numbers, and
    without the words of a request. Never raises.

    Args:
        text: of any length; what is far behind is not read.
        sent: by the request that the message may be about.
        known: words of the program, in lower case: the only ones that stay where the request has
            a form.

    Returns:
        At most :data:`MAX_MESSAGE_LENGTH` characters.
    """
    if len(text) > MAX_READ_LENGTH:
        # The word that was cut through may be too short now to be known for what it is.
        text = text[:MAX_READ_LENGTH].rpartition(" ")[0]
    text = encodable(text).replace(_OWN_PATH, "?")
    if sent is not None and len(sent.path) > 1:
        text = text.replace(sent.path, _OWN_PATH)
    text = _PERSONAL.sub(_redacted, _without_quoted(text))
    if sent is not None:
        text = _without_words(text, sent, known).replace(_OWN_PATH, sent.template)
    return text[:MAX_MESSAGE_LENGTH]


def _without_quoted(text: str) -> str:
    """A text without what is quoted; from the first quote to the last where not all are pairs."""
    if all(match["pair"] for match in _QUOTES.finditer(text)):
        return _QUOTES.sub(REDACTED, text)
    marks = [match.start() for match in _MARKS.finditer(text)]
    # One that never closes hides the rest.
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
    """A text for comparison without case, with one letter i for all that Turkish has."""
    return text.casefold().translate(_ONE_I)


def _contains_any(run: str, words: set[str]) -> bool:
    """Return whether a run contains a word of three letters or more.

    Not by a regular expression: one of 256 words, which are new with each request, takes 15 ms to
    compile, and evicts those of the application from the cache of ``re``.
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
