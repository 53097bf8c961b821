"""Processes that hold slots, and a book that prometheus_client's instruments write into."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client import values

from avatar_telemetry.metrics.mapped import Book, value_class
from tests.support.holders import workers  # noqa: F401 - fixture


@pytest.fixture
def value_seam(monkeypatch: pytest.MonkeyPatch) -> Iterator[Book]:
    """prometheus_client's instruments write into this book."""
    book = Book()
    monkeypatch.setattr(values, "ValueClass", value_class(book))
    yield book
    book.detach()
