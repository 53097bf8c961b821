"""The ring of a slot: a worker writes frames into mapped memory, the exporter reads them.

There is one writer (the holder of the slot) and one reader. Neither waits for the other, and either
may be killed at any instruction: the store of ``written`` adds a frame, and that of ``read``
removes it. The next holder of a slot continues where the last one stopped.

    writer = RingWriter(folder, 0, 1 << 20, 2048, resource=encoded)
    writer.put(SPANS, 2, payload)

    reader = RingReader(ring_path(folder, 0))
    batch = reader.read(1 << 20, 512)
    reader.advance(batch.end)
"""

from avatar_telemetry.exporter.ring_file import (
    LOGS,
    MAX_RESOURCE,
    PADDING,
    RESOURCE,
    SPANS,
    CorruptRing,
    ring_path,
    rings,
)
from avatar_telemetry.exporter.ring_reader import Batch, Frame, RingReader
from avatar_telemetry.exporter.ring_writer import RingWriter

__all__ = [
    "LOGS", "MAX_RESOURCE", "PADDING", "RESOURCE", "SPANS", "Batch", "CorruptRing", "Frame",
    "RingReader", "RingWriter", "ring_path", "rings",
]  # fmt: skip
