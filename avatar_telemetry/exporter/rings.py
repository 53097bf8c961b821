"""The rings of all slots as one source: batches of frames, and the OTLP request of a batch."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from avatar_telemetry.exporter.ring import CorruptRing, Frame, RingReader, rings
from avatar_telemetry.exporter.ring_file import set_aside

MAX_BYTES = 3 << 20
"""Bytes of a batch, without its last frame and the resources: collectors refuse requests of more
than 4 MiB over gRPC."""
_SECTION = struct.Struct("<II")


class Rings:
    """The rings of one signal in a runtime directory, for use in one thread.

    Args:
        folder: the runtime directory.
        signal: the signal: ``spans`` or ``logs``.
        failed: the function to call for each ring that cannot be read, in the ``except`` block, and
            for each frame that does not match its checksum.
    """

    def __init__(self, folder: Path, signal: str, failed: Callable[[], None]) -> None:
        self._folder = folder
        self._signal = signal
        self._failed = failed
        self._readers: dict[Path, RingReader] = {}
        self._taken: list[tuple[Path, RingReader, int]] = []

    def refresh(self) -> None:
        """Find the rings of new slots, and close removed ones.

        Raises:
            OSError: the directory is gone.
        """
        found = rings(self._folder, self._signal).values()
        for path, reader in list(self._readers.items()):
            if not reader.is_in_place():
                del self._readers[path]
                reader.close()
        for path in found:
            if path not in self._readers:
                try:
                    self._readers[path] = RingReader(path)
                except FileNotFoundError:
                    continue
                except CorruptRing as error:
                    self._set_aside(path, error)
                except (OSError, ValueError):  # it must not delay the others
                    self._failed()

    def take(self, max_items: int) -> list[Frame]:
        """Return the oldest frames; they stay in their rings until :meth:`settle`.

        Args:
            max_items: the maximum of spans or log records, unless the first frame has more.
        """
        frames: list[Frame] = []
        self._taken = []
        left, space = max_items, MAX_BYTES
        for path, reader in list(self._readers.items()):
            if left <= 0 or space <= 0:
                break
            try:
                batch = reader.read(space, left)
            except CorruptRing as error:
                self._set_aside(path, error)
                continue
            if batch.items:
                self._taken.append((path, reader, batch.end))
                frames += batch.frames
                left -= batch.items
                space -= sum(len(frame.payload) for frame in batch.frames)
            elif not reader.is_empty:
                self._advance(path, reader, batch.end)
        self._rotate()
        return frames

    def settle(self) -> None:
        """Remove the frames of the last batch: a collector has accepted or rejected them."""
        for path, reader, end in self._taken:
            self._advance(path, reader, end)
        self._taken = []

    def waiting(self) -> int:
        """Return the number of items in the rings."""
        return sum(reader.waiting for reader in self._readers.values())

    def close(self) -> None:
        """Unmap the rings."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    def _advance(self, path: Path, reader: RingReader, end: int) -> None:
        try:
            reader.advance(end)
        except CorruptRing as error:
            self._set_aside(path, error)
            return
        for _ in range(reader.torn):
            self._failed()

    def _rotate(self) -> None:
        """Begin the next batch with another ring, so that a busy one does not delay the others."""
        if self._taken:
            paths = list(self._readers)
            first = paths.index(self._taken[-1][0]) + 1
            self._readers = {path: self._readers[path] for path in paths[first:] + paths[:first]}

    def _set_aside(self, path: Path, error: CorruptRing) -> None:
        self._failed()
        reader = self._readers.pop(path, None)
        with suppress(OSError):  # it is found and counted again
            if reader is None:
                set_aside(path, error)
            else:
                reader.set_aside(error)
        if reader is not None:
            reader.close()


def waiting_items(folder: Path) -> int:
    """Return the number of spans and log records in the rings of a runtime directory.

    Raises:
        OSError: the directory is gone.
    """
    number = 0
    for signal in ("spans", "logs"):
        source = Rings(folder, signal, lambda: None)
        source.refresh()
        number += source.waiting()
        source.close()
    return number


def encode_request(frames: Iterable[Frame]) -> tuple[bytes, int]:
    """Encode the ``ExportTraceServiceRequest`` or ``ExportLogsServiceRequest`` of some frames.

    The messages have the same field numbers: resource 1, scope 1, items 2, schema URL 3.

    Returns:
        The request, and the number of items in it; a frame without valid sections is left out.
    """
    resources: dict[bytes, dict[bytes, list[bytes]]] = {}
    number = 0
    for frame in frames:
        sections = _sections(frame.payload)
        number += frame.items if sections else 0
        for scope, items in sections:
            scopes = resources.setdefault(frame.resource, {})
            scopes.setdefault(scope, []).append(items)
    parts: list[bytes] = []
    for resource, scopes in resources.items():
        members = [resource]
        for scope, encoded in scopes.items():
            members += _message(0x12, [scope, *encoded])
        parts += _message(0x0A, members)
    return b"".join(parts), number


def _sections(payload: bytes) -> list[tuple[bytes, bytes]]:
    """Return the sections of a frame, none where they are invalid."""
    found = []
    position = 0
    while position + _SECTION.size <= len(payload):
        scope_length, items_length = _SECTION.unpack_from(payload, position)
        position += _SECTION.size
        end = position + scope_length
        found.append((payload[position:end], payload[end : end + items_length]))
        position = end + items_length
    return found if position == len(payload) else []


def _message(field: int, parts: list[bytes]) -> list[bytes]:
    length, size = sum(map(len, parts)), bytearray((field,))
    while length > 0x7F:
        size.append(length & 0x7F | 0x80)
        length >>= 7
    size.append(length)
    return [bytes(size), *parts]
