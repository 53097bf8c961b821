"""Waiting for a condition."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

DEADLINE = 120.0
"""Seconds after which something that should have come is given up; never a measurement."""
PATIENCE = DEADLINE / 2
"""Seconds for a timeout of the package that must not expire in a test, however long the machine
stops a process; a test in which it does expire fails before the deadline."""
T = TypeVar("T")


def eventually(probe: Callable[[], T], what: str = "it") -> T:
    """Ask until the answer is true, and return it."""
    began = time.monotonic()
    while not (answer := probe()):
        waited = time.monotonic() - began
        assert waited < DEADLINE, f"{what} did not come; the last answer was {answer!r}"
        time.sleep(min(max(waited / 20, 0.01), 0.1))  # the longer, the rarer: probes take time
    return answer
