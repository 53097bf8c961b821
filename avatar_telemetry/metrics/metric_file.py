"""One metric file as a reader knows it: where the value of each series stands."""

from __future__ import annotations

import os
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from avatar_telemetry.metrics.mapped import (
    HEADER,
    REVISIONS,
    CorruptFileError,
    revision,
    used_bytes,
)
from avatar_telemetry.metrics.series import Series

# A file of ours is far smaller; a foreign one is not read into memory only to be found foreign.
MAX_FILE = 1 << 28


class Contents(NamedTuple):
    """The bytes in use of a file.

    Args:
        identity: inode and random number, which distinguish a new file of the same name.
        revision: how often an entry has been declared again.
        data: from the beginning of the file.
    """

    identity: tuple[int, int]
    revision: int
    data: bytearray

    @classmethod
    def read(cls, path: Path) -> Contents:
        """Read a file that its process goes on writing.

        Raises:
            FileNotFoundError: it is not there, or its process has not given it a size yet.
            OSError: it cannot be read.
            CorruptFileError: its header cannot be right.
        """
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            # The header before the size and the entries: the file may grow between any two of them.
            header = os.pread(descriptor, HEADER, 0)
            if not header:
                raise FileNotFoundError(f"{path} has been created and is still empty")
            if len(header) < HEADER:
                raise CorruptFileError("no header")
            status = os.fstat(descriptor)
            data = bytearray(used_bytes(header, min(status.st_size, MAX_FILE)))
            del data[os.preadv(descriptor, [data], 0) :]
        finally:
            os.close(descriptor)
        if len(data) < HEADER:
            raise CorruptFileError("cut off while it was read")
        number = revision(header)
        return cls((status.st_ino, number // REVISIONS), number, data)


@dataclass(slots=True, eq=False)
class MetricFile:
    """A metric file whose keys are parsed as far as it is filled.

    Args:
        name: in its folder.
        identifier: of the process that writes it.
        identity: see :class:`Contents`.
        revision: the one up to which its declarations are known.
        used: the bytes up to which its entries are known.
        damaged: a key in it cannot be parsed; the others count.
        columns: the index of the value of each series, by its number; 0 where there is none.
        documentations: help texts of series, by number, that other files do not have.
    """

    name: str
    identifier: str
    identity: tuple[int, int]
    revision: int
    used: int = HEADER
    damaged: bool = False
    columns: list[array[int]] = field(default_factory=list)
    documentations: dict[int, str] = field(default_factory=dict)

    def holds(self, number: int) -> bool:
        """Return whether a series is in the file."""
        return any(number < len(column) and column[number] for column in self.columns)

    def place(self, series: Series, index: int, documentation: str) -> None:
        """Note where a series stands.

        A series whose help text was changed stands twice: the second time in a column of its own,
        so that both are counted.
        """
        number = series.number
        for column in self.columns:
            _widen(column, number + 1)
            if not column[number]:
                break
        else:
            column = array("I")
            _widen(column, number + 1)
            self.columns.append(column)
        column[number] = index
        if documentation == series.documentation:
            self.documentations.pop(number, None)
        else:
            self.documentations[number] = documentation

    def widen(self, size: int) -> None:
        """Give all columns a place for so many series."""
        for column in self.columns:
            _widen(column, size)


def _widen(column: array[int], size: int) -> None:
    missing = size - len(column)
    if missing > 0:
        column.frombytes(bytes(column.itemsize * missing))
