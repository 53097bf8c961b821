"""Counters of the exporter, in its own files in the runtime directory."""

from __future__ import annotations

from pathlib import Path

from avatar_telemetry._base.guard import Guard
from avatar_telemetry.metrics.instruments import INTERNAL_ERRORS, Instrument
from avatar_telemetry.metrics.mapped import Book, encode_key

IDENTIFIER = "exporter"
"""The process identifier in file names, in place of a slot: all exporters use the same files."""


class Counts:
    """Counters of one label.

    Args:
        folder: the runtime directory.
        guard: the guard that counts failures to store a counter.
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
        """Count an internal error."""
        self.add(INTERNAL_ERRORS, where, 1)

    def check(self) -> None:
        """Continue in a new file where the previous one was removed, or had no space."""
        if not self._book.is_intact:
            self._book.move(self._folder, IDENTIFIER)
        elif self._book.short:
            self._book.recover()

    def close(self) -> None:
        """Close the files."""
        self._book.detach()
