"""The page that compares: each of its figures was measured."""

from __future__ import annotations

import re

from tests.support.paths import DOCS

TABLE = re.compile(r"<!-- figures: of (\S+) -->\n(.*?)<!-- end of the figures -->", re.DOTALL)
NUMBER = re.compile(r"(?<![\d.,])\d+\.\d+(?![\d.,])")


def test_figures_are_measured() -> None:
    """Each number of the table is one that the benchmarks wrote into the page that it names."""
    found = TABLE.search((DOCS / "why.md").read_text(encoding="utf-8"))
    assert found
    measured = set(NUMBER.findall((DOCS / found[1]).read_text(encoding="utf-8")))
    figures = NUMBER.findall(found[2])
    assert len(figures) > 10
    assert set(figures) - measured == set()
