"""One metric file of a reader: the position of the value of each series."""

from __future__ import annotations

import os
import struct
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

# A file of ours is far smaller; a larger one must not be read into memory.
MAX_FILE_SIZE = 1 << 28
UNREADABLE = (
    OSError, ValueError, TypeError, AttributeError, RecursionError, CorruptFileError, struct.error
)  # fmt: skip
"""The errors of a file that another program has changed."""


class Contents(NamedTuple):
    """The bytes in use of a file.

    Args:
        identity: the inode and the random number, which distinguish a new file of the same name.
        revision: the number of repeated declarations.
        data: the bytes from the beginning of the file.
    """

    identity: tuple[int, int]
    revision: int
    data: bytearray

    @classmethod
    def read(cls, path: Path) -> Contents:
        """Read a file while its process writes it.

        Raises:
            FileNotFoundError: the file does not exist, or is still empty.
            OSError: the file cannot be read.
            CorruptFileError: the header is impossible.
        """
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            # The header is read before the size and the entries: the file may grow in between.
            header = os.pread(descriptor, HEADER, 0)
            if not header:
                raise FileNotFoundError(f"{path} has been created and is still empty")
            if len(header) < HEADER:
                raise CorruptFileError("no header")
            status = os.fstat(descriptor)
            data = bytearray(used_bytes(header, min(status.st_size, MAX_FILE_SIZE)))
            del data[os.preadv(descriptor, [data], 0) :]
        finally:
            os.close(descriptor)
        if len(data) < HEADER:
            raise CorruptFileError("cut off while it was read")
        number = revision(header)
        return cls((status.st_ino, number // REVISIONS), number, data)


@dataclass(slots=True, eq=False)
class MetricFile:
    """A metric file whose keys are parsed.

    Args:
        name: the file name.
        identifier: the identifier of the process that writes it.
        identity: the identity; see :class:`Contents`.
        revision: the revision of the parsed declarations.
        used: the number of parsed bytes.
        damaged: true where a key cannot be parsed; the others count.
        columns: the index of the value of each series, by number; 0 where there is none.
        documentations: the help texts that differ from those of the series, by number.
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
        """Record the position of a series.

        A series whose help text was changed has two entries: the second one is in a column of its
        own, so that both are counted.
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
        """Extend all columns to a number of series."""
        for column in self.columns:
            _widen(column, size)


def _widen(column: array[int], size: int) -> None:
    missing = size - len(column)
    if missing > 0:
        column.frombytes(bytes(column.itemsize * missing))
