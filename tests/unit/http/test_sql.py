"""SQL texts: what a statement does, and that no literal is left of it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar_telemetry.http.sql import (
    MAX_LENGTH,
    OPERATIONS,
    SYSTEMS,
    operation,
    system_label,
    without_literals,
)

MARK = "zq9x"


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        pytest.param("SELECT 1", "SELECT", id="plain"),
        pytest.param("  \n insert into t values (1)", "INSERT", id="lower case, blanks"),
        pytest.param("/* a * b */ -- c\n(SELECT 1) UNION (SELECT 2)", "SELECT", id="comments"),
        pytest.param("START TRANSACTION", "BEGIN", id="start"),
        pytest.param("END", "COMMIT", id="end"),
        pytest.param("pragma foreign_keys", "PRAGMA", id="pragma"),
        pytest.param("VACUUM", "other", id="not listed"),
        pytest.param("", "other", id="nothing"),
        pytest.param("/* only a comment", "other", id="comment without end"),
        pytest.param("'SELECT'", "other", id="no word"),
    ],
)
def test_operation(statement: str, expected: str) -> None:
    """The first word of a statement, from a closed set."""
    assert operation(statement) == expected


@pytest.mark.parametrize(
    ("system", "statement", "expected"),
    [
        ("postgresql", 'SELECT "a"."b" FROM "a" WHERE %s', 'SELECT "a"."b" FROM "a" WHERE %s'),
        ("postgresql", "SELECT a WHERE a = 'x''y' AND 1.5e3", "SELECT a WHERE a = ?? AND ?"),
        ("postgresql", "SELECT $tag$ it's $x$ $tag$, $1", "SELECT ?, $1"),
        ("postgresql", "SELECT E'a\\'b'", "SELECT"),
        ("postgresql", "SELECT a #> '{b}' -- it's\n FROM t", "SELECT a #> ? FROM t"),
        ("postgresql", "SELECT 'open", "SELECT ?"),
        ("postgresql", "SELECT %(name)s::text, :other", "SELECT %(name)s::text, :other"),
        ("mysql", 'SELECT `a` WHERE c = "secret" # it\'s', "SELECT `a` WHERE c = ?"),
        ("mysql", "SELECT 5--'x'", "SELECT"),
        ("mysql", "SELECT /*! 'a' */ 1", "SELECT"),
        ("sqlite", 'SELECT "t"."c" FROM "t" WHERE "secret"', 'SELECT "t"."c" FROM "t" WHERE ?'),
        ("sqlite", "SELECT [it's] FROM t", "SELECT"),
        ("sqlite", "SELECT x'00ff', 0xFF, t1.c2/*c*/FROM t1", "SELECT x?, ?, t1.c2 FROM t1"),
        ("other", "SELECT /* a /* b */ 'c' */ 1", "SELECT"),
    ],
)  # fmt: skip
def test_text_without_literals(system: str, statement: str, expected: str) -> None:
    """Names, operators and placeholders stay; literals and comments go; in doubt all does."""
    assert without_literals(statement, system) == expected


def literals(system: str) -> st.SearchStrategy[str]:
    """Literals that hold the mark, as a server of the system reads them."""
    inner = st.text("a '\"`-#/*$[]\n;.%?", max_size=12)
    text = st.tuples(inner, inner).map(MARK.join)
    quoted = text.map(lambda value: "'" + value.replace("'", "''") + "'")
    escaped = text.map(lambda value: "'" + value.replace("'", "\\'") + "'")
    dollar = text.filter(lambda value: "$" not in value).map(lambda value: f"$b${value}$b$")
    double = text.map(lambda value: '"' + value.replace('"', '""') + '"')
    hexadecimal = st.just(f"0x{MARK}")
    return {
        "postgresql": quoted | dollar | escaped.map("E".__add__) | hexadecimal,
        "mysql": quoted | escaped | double | hexadecimal,
        "sqlite": quoted | double.map("= {}".format) | hexadecimal,
        "other": quoted | hexadecimal,
    }[system]


def comments(system: str) -> st.SearchStrategy[str]:
    """Comments, with what would open a literal elsewhere."""
    inner = st.text("a '\"`-/$", max_size=8)
    line = inner.map(lambda value: f"-- {value}\n")
    block = inner.map(lambda value: f"/* {value.replace('*/', '')} */")
    return line | block | (inner.map("# {}\n".format) if system == "mysql" else line)


NAMES = {
    "postgresql": ['"a b"', "t1", '"it\'s"'],
    "mysql": ["`a'b`", "t1", "`a`.`b`"],
    "sqlite": ['"t"."c"', "`a`", "[a b]", "t1"],
    "other": ["t1", '"t"."c"'],
}
WORDS = ["SELECT", "FROM t", "WHERE", "(", ")", ", ", "=", "%s", "?", "$1", "- -1", "5", "1.5e-3"]


@st.composite
def statements(draw: st.DrawFn) -> tuple[str, str]:
    system = draw(st.sampled_from(SYSTEMS))
    parts = st.sampled_from(WORDS + NAMES[system]) | literals(system) | comments(system)
    return system, " ".join(draw(st.lists(parts, max_size=12)))


@settings(max_examples=2 * settings.default.max_examples)
@given(statements())
def test_no_literal_is_left(drawn: tuple[str, str]) -> None:
    """Whatever stands around a literal, nothing of it is in the text."""
    system, statement = drawn
    assert MARK not in without_literals(statement, system)


@given(st.text(max_size=400) | st.text("'\"`$-/*#[]a1\\\n ", max_size=400))
def test_any_text(text: str) -> None:
    """Any text gives a bounded one and a known operation, in every system."""
    assert operation(text) in OPERATIONS
    for system in SYSTEMS:
        shown = without_literals(text, system)
        assert len(shown) <= MAX_LENGTH


@pytest.mark.parametrize("unit", ["(", "/*", "/**/", "'", '"', "[", "$", "$a", "--", "-- \n", "1"])
def test_long_texts(unit: str) -> None:
    """A text of any length is answered; the work stays within the part that is looked at."""
    for system in SYSTEMS:
        assert len(without_literals(unit * 100_000, system)) <= MAX_LENGTH
    assert operation(unit * 100_000) == "other"


@pytest.mark.parametrize(
    ("name", "label"), [("mariadb", "mysql"), ("postgresql", "postgresql"), ("oracle", "other")]
)
def test_system_label(name: str, label: str) -> None:
    """Systems come from a closed set."""
    assert system_label(name) == label
