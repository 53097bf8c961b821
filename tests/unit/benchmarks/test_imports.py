"""The benchmarks stand alone: the tests import them, never the other way."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY

MODULES = sorted((REPOSITORY / "benchmarks").rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_benchmarks_import_nothing_of_the_tests(path: Path) -> None:
    """No module of the benchmarks imports from ``tests``."""
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported.add(node.module)
    assert not {name for name in imported if name.partition(".")[0] == "tests"}
