"""Plain technical English in the pages, and in the docstrings and comments of the package."""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.documents import INLINE_CODE, pages
from tests.support.paths import REPOSITORY

PACKAGE = REPOSITORY / "avatar_telemetry"
MODULES = sorted(PACKAGE.rglob("*.py"))
# Words with a plain or technical equivalent: report or record, a user, a client, again, lookup,
# timeout, login, runtime directory, trust, fix, setting. None of them has a meaning in the field.
WORDS = (
    r"tells?", "told", "telling", "whoever", "somebody", "nobody", "anybody", "everybody",
    r"strangers?", r"vouch(?:es|ed)?", "anew", r"look-ups?", r"time-outs?", r"log-ins?",
    r"runtime folders?", r"mend(?:s|ed|ing)?", r"knobs?", r"befriends?",
)  # fmt: skip
UNUSED = re.compile(rf"\b(?:{'|'.join(WORDS)})\b", re.IGNORECASE)
FIRST = re.compile(r"(?:What|How|Who|Whether)\b")


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and text of each docstring of a module, also of its variables and fields."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            yield node.lineno, node.value.value


def comments(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and text of each comment of a module."""
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


def found(texts: Iterator[tuple[int, str]]) -> list[str]:
    """Return each unused word with its line."""
    return [
        f"{first + text.count(chr(10), 0, match.start())}: {match[0]}"
        for first, text in texts
        for match in UNUSED.finditer(text)
    ]


def name_of(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_pages_use_plain_words(page: Path) -> None:
    """No page has a word of the list, except in code that it quotes."""
    lines = page.read_text(encoding="utf-8").splitlines()
    texts = ((number, INLINE_CODE.sub("", line)) for number, line in enumerate(lines, 1))
    assert found(texts) == []


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_modules_use_plain_words(module: Path) -> None:
    """No docstring and no comment of the package has a word of the list."""
    assert found(docstrings(module)) + found(comments(module)) == []


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_docstrings_begin_with_a_verb_or_noun(module: Path) -> None:
    """No docstring of the package begins with What, How, Who or Whether."""
    wrong = [(line, text) for line, text in docstrings(module) if FIRST.match(text.lstrip())]
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("The log tells of\nits time-out.", ["1: tells", "2: time-out"], id="found"),
        pytest.param("Intelligent lookups time out.", [], id="parts of words"),
        pytest.param("Nobody asks.", ["1: Nobody"], id="capital"),
    ],
)
def test_words_are_found(text: str, words: list[str]) -> None:
    """A word is found with its line, in any case, and not within another word."""
    assert found(iter([(1, text)])) == words
