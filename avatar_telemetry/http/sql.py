"""SQL texts: what a statement does, and its text without any literal.

No parser: the few lexical rules that tell literals from the rest. They differ between databases,
and where a text can be read in two ways only its operation is given: half a literal is too much.
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
"""Operations that frameworks and drivers send around the application's statements: they are counted
and have no span."""

SYSTEMS = ("postgresql", "mysql", "sqlite", "other")
"""Values of the ``system`` label."""

MAX_LENGTH = 2048
"""Characters of a text that are given at most."""
READ = 16_384
"""Characters of a text that are looked at: enough to fill MAX_LENGTH."""

_OPERATIONS = {word: word for word in OPERATIONS[:-1]} | {"START": "BEGIN", "END": "COMMIT"}
_SYSTEMS = {name: name for name in SYSTEMS} | {"mariadb": "mysql", "postgres": "postgresql"}
# Each part can match in one way only, so that nothing is tried twice.
_FIRST_WORD = re.compile(r"(?:\s|\(|--[^\n]*\n|/\*(?:[^*]|\*(?!/))*\*/)*([A-Za-z]+)")

# A literal, a comment or a dollar quote that is not closed reaches to the end.
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
# Read differently by servers, or by modes of one: an escaped quote, a comment in a comment, the end
# of a line; control characters have no business here.
_DOUBTFUL = r"\\['\"`]|/\*(?:(?!\*/).)*?/\*|\r(?!\n)|[\x00-\x08\x0b\x0c\x0e-\x1f\x85\u2028\u2029]"
_DOUBTS = {
    "postgresql": re.compile(_DOUBTFUL + r"|`", re.DOTALL),
    # "--x" is two signs; "/*!" is code.
    "mysql": re.compile(_DOUBTFUL + r"|--(?!\s|\Z)|/\*[!M]", re.DOTALL),
    # Names in brackets.
    "sqlite": re.compile(_DOUBTFUL + r"|\[[^\]\[]*['\"`]|\$\w*\$", re.DOTALL),
    "other": re.compile(_DOUBTFUL + r"|\[[^\]\[]*['\"`]|--(?!\s|\Z)|/\*[!M]|\#", re.DOTALL),
}
_TABLE_FOLLOWS = frozenset(("FROM", "INTO", "JOIN", "TABLE", "UPDATE"))


def system_label(name: str) -> str:
    """``system``: one of :data:`SYSTEMS`."""
    return _SYSTEMS.get(name, "other")


def operation(statement: str) -> str:
    """``operation``: one of :data:`OPERATIONS`, from the first word of a statement."""
    quick = _OPERATIONS.get(statement[:6])
    if quick is not None:
        return quick
    found = _FIRST_WORD.match(statement[:READ])
    return _OPERATIONS.get(found[1].upper(), "other") if found else "other"


def without_literals(statement: str, system: str) -> str:
    """The text of a statement with ``?`` in place of every literal, and without comments.

    Args:
        statement: as it goes to the driver.
        system: one of :data:`SYSTEMS`; each quotes in its own way.

    Returns:
        At most :data:`MAX_LENGTH` characters; the operation alone where the text is ambiguous.
    """
    return _without_literals(statement[:READ], system)


@lru_cache(maxsize=256)
def _without_literals(text: str, system: str) -> str:
    if _DOUBTS[system].search(text):
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
    """What stands for a token; ``before`` is what stood for the last one that was no space."""
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
    """Whether a text in double quotes is a name, as the standard has it.

    MySQL takes it for a string, SQLite for either, whichever makes sense; so it has to stand where
    no string can.
    """
    if system in ("postgresql", "mysql"):
        return system == "postgresql" and match[0][-1] == '"' and len(match[0]) > 1
    qualified = before == "." or match.string[match.end() : match.end() + 1] == "."
    return qualified or before.upper() in _TABLE_FOLLOWS
