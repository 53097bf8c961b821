"""The application of gunicorn in the benchmarks, inside the layer that the variables name."""

from __future__ import annotations

import os
from importlib import import_module

application = (
    import_module("benchmarks.peers." + os.environ["BENCH_PEER"])
    .wrap(os.environ["BENCH_APPLICATION"])
    .application
)
