"""Whatever can be put around an application, one module each, loaded only in its own process.

Every module has ``wrap(name)``: the application of that name (see ``benchmarks.applications``),
with the module's layer around it. ``BENCH_SINK`` names the sink, ``BENCH_SAMPLE`` the share of
requests to trace; both are read when the module is loaded.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SINK = os.environ.get("BENCH_SINK", "http://127.0.0.1:9")
SAMPLE = float(os.environ.get("BENCH_SAMPLE", "1"))


def _nothing() -> None:
    """A layer that keeps nothing back, and shows nothing."""


@dataclass(frozen=True)
class Wrapped:
    """An application and what is around it.

    Args:
        application: to be called.
        flush: sends what is waiting and returns when that is done.
        requests: how many requests the layer's own metrics show, ``None`` where it has none.
    """

    application: Any
    flush: Callable[[], Any] = _nothing
    requests: Callable[[], float | None] = _nothing
