"""Rings whose stores can be stopped after any one of them, as a SIGKILL would."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avatar_telemetry.exporter.ring_file import RingFile


class Killed(BaseException):
    """Stands for the end of the process: nothing that it would have stored comes after it."""


@dataclass
class Stores:
    """Counts the stores into rings.

    Args:
        left: how many are done before the process ends; ``None``: it lives on.
    """

    left: int | None = None
    opened: list[RingFile] = field(default_factory=list)

    def allow(self) -> bool:
        """Return whether one more store is done."""
        if self.left is None:
            return True
        self.left -= 1
        return self.left >= 0

    def close(self) -> None:
        """Unmap every ring that was opened, by processes that ended as well."""
        for each in self.opened:
            each.close()
        self.opened.clear()


class _Watched:
    def __init__(self, target: Any, stores: Stores) -> None:
        self._target = target
        self._stores = stores

    def __getitem__(self, index: Any) -> Any:
        return self._target[index]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)


class _Words(_Watched):
    def __setitem__(self, index: int, value: int) -> None:
        if not self._stores.allow():
            raise Killed
        self._target[index] = value


class _Data(_Watched):
    """A payload is stored in two halves: a kill can come amidst it."""

    def __setitem__(self, place: slice, payload: bytes) -> None:
        middle = len(payload) // 2
        for start, end in ((0, middle), (middle, len(payload))):
            if not self._stores.allow():
                raise Killed
            self._target[place.start + start : place.start + end] = payload[start:end]


def watched_rings(stores: Stores) -> type[RingFile]:
    """Return a class in place of ``RingFile`` whose stores are counted."""

    class WatchedRing(RingFile):
        def __init__(self, path: Path) -> None:
            super().__init__(path)
            stores.opened.append(self)
            self.words = _Words(self.words, stores)  # type: ignore[assignment]
            self.data = _Data(self.data, stores)  # type: ignore[assignment]

    return WatchedRing
