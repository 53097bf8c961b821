"""Waiting for a condition."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

DEADLINE = 120.0
"""Seconds after which something that should have come is given up; never a measurement."""
T = TypeVar("T")


def eventually(probe: Callable[[], T], what: str = "it") -> T:
    """Ask until the answer is true, and return it."""
    end = time.monotonic() + DEADLINE
    while not (answer := probe()):
        assert time.monotonic() < end, f"{what} did not come; the last answer was {answer!r}"
        time.sleep(0.02)
    return answer
