"""Nothing around the application."""

from __future__ import annotations

from benchmarks.applications import bare
from benchmarks.peers import Wrapped


def wrap(name: str) -> Wrapped:
    """The application as it is."""
    return Wrapped(bare(name))
