"""Trace and span ids, random and never zero."""

from __future__ import annotations

import os
from random import Random

from opentelemetry.sdk.trace.id_generator import IdGenerator


class Ids(IdGenerator):
    """Ids from a random source of its own: an application that resets Python's, to be repeatable,
    must not repeat our ids. Make one in each process.
    """

    def __init__(self) -> None:
        self._bits = Random(os.urandom(32)).getrandbits  # noqa: S311 - ids are no secrets

    def generate_span_id(self) -> int:
        """64 bits."""
        return self._bits(64) or 1

    def generate_trace_id(self) -> int:
        """128 bits."""
        return self._bits(128) or 1

    def is_trace_id_random(self) -> bool:
        """Whether the ``random`` flag of W3C Trace Context Level 2 may be set: it may."""
        return True
