"""The operation of an SQL statement, and its text without literals.

Not a parser: a few lexical rules distinguish literals from other tokens. They differ between
databases, and an ambiguous text is reduced to its operation, so that no part of a literal is kept.
"""

from __future__ import annotations

import re
from functools import lru_cache

OPERATIONS = (
    "SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE", "WITH", "CALL", "BEGIN", "COMMIT",
    "ROLLBACK", "SAVEPOINT", "RELEASE", "SET", "SHOW", "PRAGMA", "CREATE", "ALTER", "DROP",
    "TRUNCATE", "other",
)  # fmt: skip
"""Values of the ``operation`` label."""

FRAMING = frozenset(("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "SET", "PRAGMA"))
"""Operations that frameworks and drivers send around the application's statements: counted, but
without a span."""

SYSTEMS = ("postgresql", "mysql", "sqlite", "other")
"""Values of the ``system`` label."""

MAX_LENGTH = 2048
"""Characters of a text that is returned."""
MAX_READ_LENGTH = 16_384
"""Characters of a text that are read."""

_OPERATIONS = {word: word for word in OPERATIONS[:-1]} | {"START": "BEGIN", "END": "COMMIT"}
_SYSTEMS = {name: name for name in SYSTEMS} | {"mariadb": "mysql", "postgres": "postgresql"}
# Each part can match in one way only, so that there is no backtracking.
_FIRST_WORD = re.compile(r"(?:\s|\(|--[^\n]*\n|/\*(?:[^*]|\*(?!/))*\*/)*([A-Za-z]+)")

# A literal, a comment or a dollar quote that is not closed extends to the end.
_COMMENT = r"(?P<comment>--[^\n]*|/\*.*?(?:\*/|\Z){hash})"
_DOLLAR = r"|(?P<dollar>\$(?P<tag>[^\W\d]\w*|)\$.*?(?:\$(?P=tag)\$|\Z))"
_REST = r"""
    |(?P<string>'[^']*(?:'|\Z))
    |(?P<double>"[^"]*(?:"|\Z))
    |(?P<back>`[^`]*(?:`|\Z))
    |(?P<parameter>\$\d+)
    |(?P<number>\d[\w$.]*)
    |(?P<word>[^\W\d][\w$]*)
    |(?P<space>\s+)
    |(?P<other>.)
"""


def _tokens(hash_comment: str = "", dollar: str = "") -> re.Pattern[str]:
    return re.compile(
        _COMMENT.replace("{hash}", hash_comment) + dollar + _REST, re.DOTALL | re.VERBOSE
    )


_TOKENS = {
    "postgresql": _tokens(dollar=_DOLLAR),
    "mysql": _tokens(hash_comment=r"|\#[^\n]*"),
    "sqlite": _tokens(),
    "other": _tokens(dollar=_DOLLAR),
}
# Servers, or modes of one server, differ in an escaped quote, a comment in a comment, and the end
# of a line. Control characters do not occur in valid statements.
_AMBIGUOUS = r"\\['\"`]|/\*(?:(?!\*/).)*?/\*|\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x85\u2028\u2029]"
_AMBIGUITIES = {
    "postgresql": re.compile(_AMBIGUOUS + r"|`", re.DOTALL),
    # "--x" is two signs; "/*!" is code.
    "mysql": re.compile(_AMBIGUOUS + r"|--(?!\s|\Z)|/\*[!M]", re.DOTALL),
    # Names in brackets.
    "sqlite": re.compile(_AMBIGUOUS + r"|\[[^\]\[]*['\"`]|\$\w*\$", re.DOTALL),
    "other": re.compile(_AMBIGUOUS + r"|\[[^\]\[]*['\"`]|--(?!\s|\Z)|/\*[!M]|\#", re.DOTALL),
}
_TABLE_FOLLOWS = frozenset(("FROM", "INTO", "JOIN", "TABLE", "UPDATE"))


def system_label(name: str) -> str:
    """Return the label ``system``: one of :data:`SYSTEMS`."""
    return _SYSTEMS.get(name, "other")


def operation(statement: str) -> str:
    """Return the label ``operation`` of a statement: one of :data:`OPERATIONS`."""
    quick = _OPERATIONS.get(statement[:6])
    if quick is not None:
        return quick
    found = _FIRST_WORD.match(statement[:MAX_READ_LENGTH])
    return _OPERATIONS.get(found[1].upper(), "other") if found else "other"


def without_literals(statement: str, system: str) -> str:
    """Return the text of a statement with ``?`` in place of every literal, and without comments.

    Args:
        statement: the text that is passed to the driver.
        system: one of :data:`SYSTEMS`, which differ in their rules of quoting.

    Returns:
        At most :data:`MAX_LENGTH` characters; the operation alone if the text is ambiguous.
    """
    return _without_literals(statement[:MAX_READ_LENGTH], system)


@lru_cache(maxsize=256)
def _without_literals(text: str, system: str) -> str:
    if _AMBIGUITIES[system].search(text):
        return operation(text)
    parts: list[str] = []
    length, before = 0, ""
    for match in _TOKENS[system].finditer(text):
        shown = _shown(match, system, before)
        if shown != " ":
            before = shown
        elif parts and parts[-1] == " ":
            continue
        parts.append(shown)
        length += len(shown)
        if length >= MAX_LENGTH:
            break
    return "".join(parts).strip()[:MAX_LENGTH]


def _shown(match: re.Match[str], system: str, before: str) -> str:
    """Return the replacement of a token; ``before`` is that of the last token except spaces."""
    kind, token = match.lastgroup, match[0]
    if kind == "tag":  # the group inside of a dollar quote closes last
        kind = "dollar"
    if kind in ("string", "number", "dollar"):
        return "?"
    if kind in ("space", "comment"):
        return " "
    if kind == "double" and not _is_name(match, system, before):
        return "?"
    return token


def _is_name(match: re.Match[str], system: str, before: str) -> bool:
    """Return whether a text in double quotes is a name, as in the SQL standard.

    In MySQL it is a string. In SQLite it depends on the context, so only a position in which no
    string is valid makes it a name.
    """
    if system in ("postgresql", "mysql"):
        return system == "postgresql" and match[0][-1] == '"' and len(match[0]) > 1
    qualified = before == "." or match.string[match.end() : match.end() + 1] == "."
    return qualified or before.upper() in _TABLE_FOLLOWS
