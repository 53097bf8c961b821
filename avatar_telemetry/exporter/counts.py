"""Counters of the exporter, in files of its own in the runtime folder."""

from __future__ import annotations

from pathlib import Path

from avatar_telemetry._base.guard import Guard
from avatar_telemetry.metrics.instruments import INTERNAL_ERRORS, Instrument
from avatar_telemetry.metrics.mapped import Book, encode_key

IDENTIFIER = "exporter"
"""Takes the place of the slot in the names of the files: the next exporter continues them."""


class Counts:
    """Counters of one label.

    Args:
        folder: the runtime folder.
        guard: counts failures to store a counter.
    """

    def __init__(self, folder: Path, guard: Guard) -> None:
        self._folder = folder
        self._book = Book(lambda: guard.failed("store"))
        self._book.open(folder, IDENTIFIER)

    def add(self, instrument: Instrument, label: str, amount: int) -> None:
        """Add to the counter of a label value."""
        labels = {instrument.labels[0]: label}
        name = instrument.name
        key = encode_key(name, f"{name}_total", labels, instrument.documentation)
        with self._book.lock:
            doubles, index = self._book.cell(instrument.prefix, key)
            doubles[index] += amount

    def internal_error(self, where: str) -> None:
        """Count a failure of ours."""
        self.add(INTERNAL_ERRORS, where, 1)

    def check(self) -> None:
        """Go on in a new file where that of before was removed, or had no space."""
        if not self._book.is_intact:
            self._book.move(self._folder, IDENTIFIER)
        elif self._book.short:
            self._book.recover()

    def close(self) -> None:
        """Close the files."""
        self._book.detach()
