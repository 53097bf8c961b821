"""Probe of pymemcache: whether a look-up found something, and a span for each operation.

Covers ``Client``, ``PooledClient`` and ``HashClient``, which call one another: the request counts
the first look-up only, and all of them see the same answer. Spans are those of ``Client``, whoever
called it: a look-up of a ``HashClient`` at three servers is three. They are made by OpenTelemetry's
instrumentation, which is asked where one is recorded only, and has keys and values taken away.
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
    note_hit,
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
"""What a profile calls this cache."""
SUPPORTED = Versions((3, 5), (5, 0))
INSTRUMENTATION = "opentelemetry.instrumentation.pymemcache"


def install() -> None:
    """Watch all three clients."""
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
    """A command of a client that speaks to one server."""
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
                _tell(request, found(operation, value, args, kwargs))
            return value

        return look_up

    return around


def _tell(request: Any, hit: bool | None) -> None:
    if hit is not None:
        request.cache_lookup(NAME, hit=hit)


class _Spans:
    """The wrappers of OpenTelemetry's instrumentation, one for each command, made when needed."""

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
            note_hit(operation, value, args, kwargs)
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
            except Exception:  # noqa: BLE001 - an instrumentation of another shape
                POLICY.guard.failed("probe_memcached")
                self._wrappers[operation] = None
        return self._wrappers[operation]

    def _make(self, operation: str) -> Any:
        theirs = import_module(INSTRUMENTATION)
        provider = PrivateTracerProvider(no_statement, PREFIX)
        tracer = provider.get_tracer(INSTRUMENTATION, theirs.__version__)
        return pymemcache_wrapper(tracer, operation)


SPANS = _Spans()
