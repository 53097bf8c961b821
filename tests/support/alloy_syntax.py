"""A parser of Grafana Alloy's configuration language: blocks, attributes, values, references.

As its reference describes it: a block is a dotted name, an optional label in quotes, and a body; an
attribute is a name, ``=`` and an expression. Of expressions it knows what a configuration has:
literals, arrays, objects, calls and references. Anything else is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

TOKEN = re.compile(
    r"""(?P<skip>[ \t]+|//[^\n]*|/\*.*?\*/)
      | (?P<newline>\r?\n)
      | (?P<string>"(?:\\.|[^"\\\n])*"|`[^`]*`)
      | (?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?\b)
      | (?P<name>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)
      | (?P<mark>[{}\[\](),=])""",
    re.VERBOSE | re.DOTALL,
)
CONSTANTS = {"true", "false", "null"}


class AlloySyntaxError(Exception):
    """The text is no configuration; says the line."""


@dataclass(frozen=True)
class Token:
    kind: str
    text: str
    line: int


@dataclass
class Block:
    """A block: ``otelcol.exporter.otlp "traces" { ... }``.

    Args:
        name: dotted.
        label: of a component; empty for a block inside of one.
        attributes: name -> tokens of its expression.
        blocks: those inside.
    """

    name: str
    label: str = ""
    attributes: dict[str, list[Token]] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)

    @property
    def address(self) -> str:
        """The reference that others use for it."""
        return f"{self.name}.{self.label}"

    def references(self) -> Iterator[str]:
        """Every dotted name in an expression here or inside that is no call."""
        for tokens in self.attributes.values():
            followers = [*tokens[1:], Token("end", "", 0)]
            for token, follower in zip(tokens, followers, strict=True):
                if token.kind == "name" and "." in token.text and follower.text != "(":
                    yield token.text
        for block in self.blocks:
            yield from block.references()


def parse(text: str) -> list[Block]:
    """The blocks of a file.

    Raises:
        AlloySyntaxError: it does not follow the grammar.
    """
    reader = _Reader(list(_tokens(text)))
    root = Block("")
    reader.body(root, end="end")
    if root.attributes:
        raise AlloySyntaxError("an attribute stands outside of all blocks")
    return root.blocks


def _tokens(text: str) -> Iterator[Token]:
    position, line = 0, 1
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None:
            raise AlloySyntaxError(f"line {line}: {text[position : position + 20]!r}")
        kind = str(match.lastgroup)
        if kind != "skip":
            yield Token(kind, match[0], line)
        line += match[0].count("\n")
        position = match.end()
    yield Token("newline", "\n", line)
    yield Token("end", "", line)


def _stands_alone(token: Token) -> bool:
    """Return whether it is an expression: a literal, or a reference."""
    if token.kind == "name":
        return "." in token.text or token.text in CONSTANTS
    return token.kind in ("string", "number")


class _Reader:
    """Reads tokens from left to right, one look ahead."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._at = 0

    def body(self, block: Block, end: str) -> None:
        """Statements up to the mark that ends them, each on lines of its own."""
        while True:
            self._skip_newlines()
            token = self._take()
            if end in (token.kind, token.text):
                return
            if token.kind != "name":
                raise self._unexpected(token)
            if self._peek().text == "=":
                self._attribute(block, token)
            else:
                self._block(block, token)
            if self._peek().text != end:
                self._expect("newline")

    def _attribute(self, block: Block, name: Token) -> None:
        if "." in name.text or name.text in block.attributes:
            raise self._unexpected(name)
        self._take()
        start = self._at
        self._expression()
        words = self._tokens[start : self._at]
        block.attributes[name.text] = [each for each in words if each.kind != "newline"]

    def _block(self, outer: Block, name: Token) -> None:
        label = self._take().text.strip('"') if self._peek().kind == "string" else ""
        inner = Block(name.text, label)
        self._expect("mark", "{")
        self.body(inner, end="}")
        outer.blocks.append(inner)

    def _expression(self) -> None:
        token = self._take()
        if token.text == "[":
            self._list("]", self._expression)
        elif token.text == "{":
            self._list("}", self._pair)
        elif token.kind == "name" and self._peek().text == "(":
            self._take()
            self._list(")", self._expression)
        elif not _stands_alone(token):
            raise self._unexpected(token)

    def _pair(self) -> None:
        token = self._take()
        if token.kind not in ("string", "name"):
            raise self._unexpected(token)
        self._expect("mark", "=")
        self._expression()

    def _list(self, end: str, item: object) -> None:
        """Items with commas between; after a line break the last one has its comma, too."""
        assert callable(item)
        self._skip_newlines()
        while self._peek().text != end:
            item()
            if self._peek().text == ",":
                self._take()
                self._skip_newlines()
            elif self._peek().text != end:
                raise self._unexpected(self._peek())
        self._take()

    def _skip_newlines(self) -> None:
        while self._peek().kind == "newline":
            self._at += 1

    def _peek(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        token = self._tokens[self._at]
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def _expect(self, kind: str, text: str = "") -> None:
        token = self._take()
        if token.kind != kind or (text and token.text != text):
            raise self._unexpected(token)

    def _unexpected(self, token: Token) -> AlloySyntaxError:
        return AlloySyntaxError(f"line {token.line}: {token.text!r} is not expected here")
