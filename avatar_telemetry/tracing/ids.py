"""Trace and span ids, random and never zero."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from random import Random

from opentelemetry.sdk.trace.id_generator import IdGenerator

Drawn = tuple[bytes, bytes, bytes]
"""A trace id and two span ids, for most requests have two spans."""
_DRAWN = struct.Struct("16s8s8s")
STOCK = 128
"""How many are drawn at once."""


class Ids(IdGenerator):
    """Ids from a random source of its own: an application that makes Python's repeatable must not
    repeat our ids. Make one in each process.
    """

    def __init__(self) -> None:
        self._bits = Random(os.urandom(32)).getrandbits  # noqa: S311 - ids are no secrets
        self._stock: Iterator[Drawn] = iter(())

    def draw(self) -> Drawn:
        """Return ids that were never returned before: ``next`` is atomic."""
        return next(self._stock, None) or self._refill()

    def generate_span_id(self) -> int:
        """64 bits."""
        return self._bits(64) or 1

    def generate_trace_id(self) -> int:
        """128 bits."""
        return self._bits(128) or 1

    def is_trace_id_random(self) -> bool:
        """Whether the ``random`` flag of W3C Trace Context Level 2 may be set: it may."""
        return True

    def _refill(self) -> Drawn:
        zero, size, data = bytes(8), STOCK * _DRAWN.size, bytes(8)
        while zero in data:  # an id of zeros would be none
            data = os.urandom(size)
        stock = self._stock = _DRAWN.iter_unpack(data)
        return next(stock)
