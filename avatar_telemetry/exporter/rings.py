"""The rings of all slots as one source: batches of frames, and the OTLP request that carries them."""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from avatar_telemetry.exporter.ring import Batch, CorruptRing, RingReader, ring_paths, set_aside

MAX_BYTES = 4 << 20
"""Bytes of a batch: collectors refuse more than 4 MiB over gRPC."""
_SECTION = struct.Struct("<II")


class Portion:
    """What one ring gave to a batch.

    Args:
        reader: of the ring.
        batch: the frames.
    """

    __slots__ = ("batch", "reader")

    def __init__(self, reader: RingReader, batch: Batch) -> None:
        self.reader = reader
        self.batch = batch


class Rings:
    """The rings of a runtime folder. Safe for several threads.

    Args:
        folder: the runtime folder.
        kinds: the kinds of frames that are wanted; others are skipped.
        corrupt: called for each ring that had to be set aside, in the ``except`` block.
    """

    def __init__(self, folder: Path, kinds: tuple[int, ...], corrupt: Callable[[], None]) -> None:
        self._folder = folder
        self._kinds = kinds
        self._corrupt = corrupt
        self._readers: dict[Path, RingReader] = {}
        self._lock = threading.Lock()

    def refresh(self) -> None:
        """Find the rings of new slots, and forget those that are gone."""
        with self._lock:
            found = set(ring_paths(self._folder))
            for path in [path for path in self._readers if path not in found]:
                self._readers.pop(path).close()
            for path, reader in list(self._readers.items()):
                if not reader.is_in_place():
                    self._readers.pop(path).close()
            for path in found - self._readers.keys():
                try:
                    self._readers[path] = RingReader(path, kinds=self._kinds)
                except FileNotFoundError:
                    continue
                except (CorruptRing, OSError):
                    self._set_aside(path)

    def take(self, kind: int, max_items: int) -> list[Portion]:
        """Return the oldest frames of a kind that no collector has taken; they stay where they are.

        Args:
            kind: of the frames.
            max_items: spans or log records; one frame is taken even if it has more.
        """
        portions = []
        left, room = max_items, MAX_BYTES
        with self._lock:
            for path, reader in list(self._readers.items()):
                if left <= 0 or room <= 0:
                    break
                try:
                    batch = reader.read(kind, max_bytes=room, max_items=left)
                except CorruptRing:
                    self._set_aside(path)
                    continue
                if batch.frames:
                    portions.append(Portion(reader, batch))
                    left -= sum(frame.items for frame in batch.frames)
                    room -= sum(len(frame.payload) for frame in batch.frames)
                else:
                    reader.advance(kind, batch.end)
        return portions

    def settle(self, kind: int, portions: Iterable[Portion]) -> None:
        """Move on: a collector has accepted or refused these frames."""
        with self._lock:
            for portion in portions:
                portion.reader.advance(kind, portion.batch.end)

    def waiting(self) -> int:
        """Return how many items of all kinds no collector has taken."""
        with self._lock:
            return sum(reader.waiting for reader in self._readers.values())

    def close(self) -> None:
        """Unmap the rings."""
        with self._lock:
            for reader in self._readers.values():
                reader.close()
            self._readers.clear()

    def _set_aside(self, path: Path) -> None:
        self._corrupt()
        reader = self._readers.pop(path, None)
        if reader is not None:
            reader.close()
        set_aside(path)


def items_of(portions: Iterable[Portion]) -> int:
    """Return the number of spans or log records in a batch."""
    return sum(frame.items for portion in portions for frame in portion.batch.frames)


def encode_request(portions: Iterable[Portion]) -> bytes:
    """Return the ``ExportTraceServiceRequest`` or ``ExportLogsServiceRequest`` of a batch.

    The messages have the same field numbers: resource 1, scope 1, items 2, schema URL 3.
    """
    resources: dict[bytes, dict[bytes, list[bytes]]] = {}
    for portion in portions:
        for frame in portion.batch.frames:
            scopes = resources.setdefault(frame.resource, {})
            for scope, items in _sections(frame.payload):
                scopes.setdefault(scope, []).append(items)
    parts: list[bytes] = []
    for resource, scopes in resources.items():
        members = [resource]
        for scope, encoded in scopes.items():
            members += _message(0x12, [scope, *encoded])
        parts += _message(0x0A, members)
    return b"".join(parts)


def _sections(payload: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 0
    while position < len(payload):
        scope_length, items_length = _SECTION.unpack_from(payload, position)
        position += _SECTION.size
        end = position + scope_length
        yield payload[position:end], payload[end : end + items_length]
        position = end + items_length


def _message(field: int, parts: list[bytes]) -> list[bytes]:
    length, size = sum(map(len, parts)), bytearray((field,))
    while length > 0x7F:
        size.append(length & 0x7F | 0x80)
        length >>= 7
    size.append(length)
    return [bytes(size), *parts]
