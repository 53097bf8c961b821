"""The newest exemplar of each series in the files of all slots."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from avatar_telemetry.metrics.exemplars import SIZES, Kind, head_of, intact_record, unpack
from avatar_telemetry.metrics.family import Exemplar
from avatar_telemetry.metrics.mapped import HEADER, read_entries
from avatar_telemetry.metrics.metric_file import UNREADABLE, Contents

FILE_NAME = re.compile(r"(traces|labels)_[^/]+\.exemplars", re.ASCII)


@dataclass(slots=True)
class ExemplarFile:
    """A file whose keys are parsed.

    Args:
        identity: the identity; see :class:`Contents`.
        used: the number of parsed bytes.
        entries: the keys, each with the position of its record.
    """

    identity: tuple[int, int]
    used: int = HEADER
    entries: list[tuple[bytes, int]] = field(default_factory=list)


class MergedExemplars:
    """The exemplars of a runtime directory, to be read any number of times.

    Args:
        folder: the runtime directory.
    """

    def __init__(self, folder: Path) -> None:
        self.unreadable = 0
        """The number of files that the last read could not read."""
        self._folder = folder
        self._files: dict[str, ExemplarFile] = {}

    def read(self) -> dict[bytes, Exemplar]:
        """Return the newest exemplar of each series, by the key of its value."""
        self.unreadable = 0
        newest: dict[bytes, tuple[int, Kind, bytes]] = {}
        names = self._names()
        for name in self._files.keys() - names.keys():
            del self._files[name]
        for name, kind in names.items():
            try:
                self._read_file(name, kind, newest)
            except FileNotFoundError:
                continue
            except UNREADABLE:
                self.unreadable += 1
        found: dict[bytes, Exemplar] = {}
        for key, (_, kind, record) in newest.items():
            try:
                exemplar = unpack(kind, record)
            except UNREADABLE:
                continue
            if exemplar is not None:
                found[key] = exemplar
        return found

    def _names(self) -> dict[str, Kind]:
        try:
            matches = map(FILE_NAME.fullmatch, os.listdir(self._folder))
        except OSError:
            return {}
        return {
            match[0]: "traces" if match[1] == "traces" else "labels" for match in matches if match
        }

    def _read_file(
        self, name: str, kind: Kind, newest: dict[bytes, tuple[int, Kind, bytes]]
    ) -> None:
        identity, _, data = Contents.read(self._folder / name)
        file = self._files.get(name)
        if file is None or file.identity != identity or len(data) < file.used:
            file = self._files[name] = ExemplarFile(identity)
        size = SIZES[kind]
        new = read_entries(data, len(data), file.used, size)
        file.entries += [(key, 8 * index) for key, index in new]
        file.used = len(data)
        for key, position in file.entries:
            time = head_of(data, position)[1]
            if key in newest and time <= newest[key][0]:
                continue
            record = intact_record(kind, data, position)
            if record is not None:
                newest[key] = time, kind, record
