"""An application with metrics of the OpenTelemetry API, made when it is imported."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from opentelemetry.metrics import CallbackOptions, Observation, get_meter

from avatar_telemetry import instrument

METER = get_meter("shop", "1.0")
CALLS = METER.create_counter("shop.calls", "{call}", "Calls.")
SIZES = METER.create_histogram("shop.sizes", "By", explicit_bucket_boundaries_advisory=[10, 100])
SERVED = METER.create_up_down_counter("shop.served")
NEWEST = METER.create_gauge("shop.newest")


def observer(options: CallbackOptions) -> Iterator[Observation]:
    """Report which process is asked."""
    yield Observation(os.getpid())


def sold(options: CallbackOptions) -> Iterator[Observation]:
    """Report a total that all processes know."""
    yield Observation(10, {"of": "pens"})


METER.create_observable_gauge("shop.observer", [observer])
METER.create_observable_counter("shop.sold", [sold])


def serve(
    environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], object]
) -> Iterable[bytes]:
    """Answer with the process, and count."""
    CALLS.add(1, {"path": environ["PATH_INFO"]})
    SIZES.record(50)
    SERVED.add(1)
    NEWEST.set(os.getpid())
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]


application = instrument(serve)
