"""Probe of pylibmc: hit or miss of a lookup, and a span for each operation.

OpenTelemetry has no instrumentation for it. A span has the attributes of pymemcache's, but no
server: libmemcached selects one and does not report it.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from opentelemetry.trace import SpanKind

from avatar_telemetry.probes.memcached import OPERATIONS, PREFIX, found, no_statement, record_hit
from avatar_telemetry.probes.outside import tracer_of
from avatar_telemetry.probes.patching import Around, Call, Versions, surround, when_imported
from avatar_telemetry.probes.spans import PrivateTracer, span_wanted
from avatar_telemetry.wsgi.request import CURRENT

NAME = "pylibmc"
"""The name of this cache in a profile."""
SUPPORTED = Versions((1, 6), (2, 0))
SYSTEM = {"db.system": "memcached"}


def install() -> None:
    """Observe the client."""
    when_imported("pylibmc", _patch, SUPPORTED)


def _patch(module: ModuleType) -> None:
    for operation in OPERATIONS:
        if hasattr(module.Client, operation):
            surround(module.Client, operation, _around(operation))


def _around(operation: str) -> Around:
    def around(original: Call) -> Call:
        def command(self: Any, *args: Any, **kwargs: Any) -> Any:
            request = CURRENT.get()
            if span_wanted(request):
                value = _traced(operation, original, self, args, kwargs)
            else:
                value = original(self, *args, **kwargs)
            if request is not None:
                hit = found(operation, value, args, kwargs)
                if hit is not None:
                    request.cache_lookup(NAME, hit=hit)
            return value

        return command

    return around


def _traced(
    operation: str, original: Call, client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    tracer = PrivateTracer(tracer_of(NAME), no_statement, PREFIX)
    with tracer.start_as_current_span(operation, kind=SpanKind.CLIENT, attributes=SYSTEM):
        value = original(client, *args, **kwargs)
        record_hit(operation, value, args, kwargs)
        return value
