"""Trace and span ids, random and never zero."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from random import Random

from opentelemetry.sdk.trace.id_generator import IdGenerator

IdSet = tuple[bytes, bytes, bytes]
"""A trace id and two span ids, because most requests have two spans."""
_ID_SET = struct.Struct("16s8s8s")
STOCK_SIZE = 128
"""Sets from one call of the operating system."""


class Ids(IdGenerator):
    """A generator of ids with its own random source: an application that makes Python's random
    numbers repeatable must not repeat ids. Create one in each process.

    Attributes:
        stock: the unused sets. ``next`` is atomic, so no set is used twice.
    """

    def __init__(self) -> None:
        self._bits = Random(os.urandom(32)).getrandbits  # noqa: S311 - ids are no secrets
        self.stock: Iterator[IdSet] = iter(())

    def draw(self) -> IdSet:
        """Return ids that were never returned before."""
        return next(self.stock, None) or self.refill()

    def refill(self) -> IdSet:
        """Fill the stock and return its first ids."""
        zero, size, data = bytes(8), STOCK_SIZE * _ID_SET.size, bytes(8)
        while zero in data:  # an id of zeros is invalid
            data = os.urandom(size)
        stock = self.stock = _ID_SET.iter_unpack(data)
        return next(stock)

    def generate_span_id(self) -> int:
        """Return a span id of 64 bits."""
        return self._bits(64) or 1

    def generate_trace_id(self) -> int:
        """Return a trace id of 128 bits."""
        return self._bits(128) or 1

    def is_trace_id_random(self) -> bool:
        """Return true: the ``random`` flag of W3C Trace Context Level 2 may be set."""
        return True
