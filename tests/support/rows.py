"""The rows of matrices that several tests go through, and the one that runs by default."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def rows(*names: str) -> list[Any]:
    """Rows of one value each, which is their id."""
    return [pytest.param(name, id=name) for name in names]


WORKER_CLASSES = rows("sync", "gthread", "gevent")
PRELOAD = [pytest.param(False, id="import"), pytest.param(True, id="preload")]
MATRIX = [
    pytest.param(*worker_class.values, *preload.values, id=f"{worker_class.id}-{preload.id}")
    for worker_class in WORKER_CLASSES
    for preload in PRELOAD
]


def by_default(name: str, table: Iterable[Any]) -> list[Any]:
    """Mark all rows as slow but one.

    Args:
        name: the id of the row that runs by default.
        table: all of them, each with an id.
    """
    table = list(table)
    assert [row.id for row in table].count(name) == 1, f"there is not one row {name}"
    return [
        row if row.id == name
        else pytest.param(*row.values, id=row.id, marks=[*row.marks, pytest.mark.slow])
        for row in table
    ]  # fmt: skip
