"""Probe of pymemcache: hit or miss of a lookup, and a span for each operation.

It covers ``Client``, ``PooledClient`` and ``HashClient``, which call one another: the request
counts the first lookup only, and all of them have the same result. Spans are made for ``Client``: a
lookup of a ``HashClient`` at three servers has three. OpenTelemetry's instrumentation makes them,
only where they are recorded, and without keys and values.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any

from avatar_telemetry._base.log import LOGGER
from avatar_telemetry._base.otel_private import pymemcache_wrapper
from avatar_telemetry.probes.memcached import (
    MANY,
    ONE,
    OPERATIONS,
    PREFIX,
    found,
    no_statement,
    record_hit,
)
from avatar_telemetry.probes.patching import (
    Around,
    Call,
    Versions,
    surround,
    when_imported,
)
from avatar_telemetry.probes.policy import POLICY
from avatar_telemetry.probes.spans import PrivateTracerProvider, span_wanted
from avatar_telemetry.wsgi.request import CURRENT

NAME = "pymemcache"
"""The name of this cache in a profile."""
SUPPORTED = Versions((3, 5), (5, 0))
INSTRUMENTATION = "opentelemetry.instrumentation.pymemcache"


def install() -> None:
    """Observe all three clients."""
    when_imported("pymemcache", _patch, SUPPORTED)


def _patch(module: ModuleType) -> None:
    base = import_module("pymemcache.client.base")
    for operation in OPERATIONS:
        if hasattr(base.Client, operation):
            surround(base.Client, operation, _around_command(operation))
    for client in (base.PooledClient, import_module("pymemcache.client.hash").HashClient):
        for operation in (*ONE, *MANY):
            if hasattr(client, operation):
                surround(client, operation, _around_lookup(operation))


def _around_command(operation: str) -> Around:
    """Return the wrapper of a command of a client of one server."""
    lookup = _around_lookup(operation) if operation in (*ONE, *MANY) else None

    def around(original: Call) -> Call:
        def command(self: Any, *args: Any, **kwargs: Any) -> Any:
            if not span_wanted(CURRENT.get()):
                return original(self, *args, **kwargs)
            return SPANS.run(operation, original, self, args, kwargs)

        return lookup(command) if lookup else command

    return around


def _around_lookup(operation: str) -> Around:
    def around(original: Call) -> Call:
        def look_up(self: Any, *args: Any, **kwargs: Any) -> Any:
            value = original(self, *args, **kwargs)
            request = CURRENT.get()
            if request is not None:
                _report(request, found(operation, value, args, kwargs))
            return value

        return look_up

    return around


def _report(request: Any, hit: bool | None) -> None:
    if hit is not None:
        request.cache_lookup(NAME, hit=hit)


class _Spans:
    """The wrappers of OpenTelemetry's instrumentation, one for each command, made on first use."""

    def __init__(self) -> None:
        self._wrappers: dict[str, Any] = {}

    def run(
        self,
        operation: str,
        original: Call,
        client: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Run a command inside its span."""

        def command(*args: Any, **kwargs: Any) -> Any:
            value = original(client, *args, **kwargs)
            record_hit(operation, value, args, kwargs)
            return value

        wrapper = self._wrapper(operation)
        return wrapper(command, client, args, kwargs) if wrapper else command(*args, **kwargs)

    def _wrapper(self, operation: str) -> Any:
        if operation not in self._wrappers:
            try:
                self._wrappers[operation] = self._make(operation)
            except ImportError as error:
                LOGGER.warning("no spans of pymemcache: %s", error)
                self._wrappers = dict.fromkeys(OPERATIONS)
            except Exception:  # noqa: BLE001 - any fault of an unexpected version of the instrumentation
                POLICY.guard.failed("probe_memcached")
                self._wrappers[operation] = None
        return self._wrappers[operation]

    def _make(self, operation: str) -> Any:
        package = import_module(INSTRUMENTATION)
        provider = PrivateTracerProvider(no_statement, PREFIX)
        tracer = provider.get_tracer(INSTRUMENTATION, package.__version__)
        return pymemcache_wrapper(tracer, operation)


SPANS = _Spans()
