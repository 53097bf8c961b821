"""The pages of the documentation taken apart: headings, links, blocks of code, names.

An anchor is that of MkDocs (Python-Markdown's ``toc``), which differs from a forge's only in what
none of our headings has.
"""

from __future__ import annotations

import ast
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.support.paths import REPOSITORY

DOCS = REPOSITORY / "docs"
COMPLETE = "<!-- complete -->"
"""On the line before a block of Python that runs as it stands."""
FENCE = re.compile(r"^(?P<indent> *)(?P<fence>`{3,})(?P<language>\S*)[^\n]*$")
LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\((?P<target>[^()\s]+)\)")
INLINE_CODE = re.compile(r"`[^`\n]+`")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Args:
        path: of the page.
        line: of its fence, counted from one.
        language: what the fence says.
        text: what is in it.
        complete: whether it says that it runs as it stands.
    """

    path: Path
    line: int
    language: str
    text: str
    complete: bool

    @property
    def name(self) -> str:
        """For the name of a test."""
        return f"{self.path.relative_to(REPOSITORY)}:{self.line}"


@cache
def pages() -> list[Path]:
    """All of them."""
    return sorted([*DOCS.rglob("*.md"), *REPOSITORY.glob("*.md")])


def blocks(path: Path) -> Iterator[Block]:
    """The fenced blocks of a page.

    Raises:
        AssertionError: one has no end.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    start: int | None = None
    fence = re.fullmatch("", "")
    for number, line in enumerate(lines):
        if start is None:
            fence = FENCE.match(line)
            start = number if fence else None
        elif fence and line.strip() == fence["fence"]:
            text = "\n".join(
                each.removeprefix(fence["indent"]) for each in lines[start + 1 : number]
            )
            complete = lines[start - 1].strip() == COMPLETE
            yield Block(path, start + 1, fence["language"], text + "\n", complete)
            start = None
    assert start is None, f"{path}: the block of line {start} has no end"


@cache
def prose(path: Path) -> str:
    """A page without its fenced blocks."""
    kept, inside = [], False
    for line in path.read_text(encoding="utf-8").splitlines():
        if FENCE.match(line):
            inside = not inside
        elif not inside:
            kept.append(line)
    return "\n".join(kept)


@cache
def links(path: Path) -> list[str]:
    """Where the links and pictures of a page lead to."""
    text = INLINE_CODE.sub("``", prose(path))
    return [match["target"] for match in LINK.finditer(text)]


@cache
def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings."""
    found: set[str] = set()
    seen: Counter[str] = Counter()
    for line in prose(path).splitlines():
        if heading := re.fullmatch(r"#{1,6} +(.+?) *#*", line):
            slug = slugified(heading[1])
            found.add(f"{slug}_{seen[slug]}" if seen[slug] else slug)
            seen[slug] += 1
    return found


@cache
def literals() -> frozenset[str]:
    """Every string literal in the code of the package."""
    return frozenset(
        node.value
        for path in (REPOSITORY / "avatar_telemetry").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def slugified(heading: str) -> str:
    """The anchor of a heading."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    text = re.sub(r"[^\w\s-]", "", text).strip().lower()
    return re.sub(r"[-\s]+", "-", text)
