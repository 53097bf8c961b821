"""The tracer provider of a worker, and its tracers.

It has the interface of the SDK's ``TracerProvider``: users add span processors, and libraries get
tracers. Only the spans are light ones.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from time import time_ns
from typing import TYPE_CHECKING, Any, TypeVar, cast

from opentelemetry import context as context_api
from opentelemetry import trace as trace_api
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationInfo, InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags, TraceState
from opentelemetry.util.types import Attributes

from avatar_telemetry._base.guard import Guard
from avatar_telemetry._base.otel_private import active_processor, on_ending
from avatar_telemetry.config.resource import of_child
from avatar_telemetry.tracing.ids import Ids
from avatar_telemetry.tracing.processors import GuardedProcessor, run_until
from avatar_telemetry.tracing.sampling import EVERY, Sampling
from avatar_telemetry.tracing.span import (
    SAMPLED_RANDOM,
    LightSpan,
    OperationSpan,
    Origin,
    RecordedSpan,
    RequestSpan,
    RootSpan,
    SpanSink,
    UnsampledSpan,
)

if TYPE_CHECKING:
    from avatar_telemetry.tracing.keep import Keeper

Describe = Callable[[BaseException], Mapping[str, str]]
Scrub = Callable[[str], "str | None"]

Recorded = TypeVar("Recorded", bound=RecordedSpan)

# The maximum number of attributes that this package sets; a lower limit may drop some of them.
MAX_KNOWN = 64
RANDOM = TraceFlags(TraceFlags.RANDOM_TRACE_ID)
SERVER = SpanKind.SERVER  # members of an enumeration are slow to look up


class LightTracer(sdk.Tracer):
    """A tracer of one instrumentation scope.

    Args:
        provider: the provider of the tracer.
        scope: the name and version of the instrumented library.
        instrumentation_info: the same in the SDK's deprecated form.
    """

    def __init__(
        self,
        provider: LightTracerProvider,
        scope: InstrumentationScope,
        instrumentation_info: InstrumentationInfo,
    ) -> None:
        super().__init__(
            provider.sampler, provider.resource, active_processor(provider),
            provider.id_generator, instrumentation_info, provider.limits, scope,
        )  # fmt: skip
        self.origin = Origin(provider.resource, scope)
        self.limits = provider.limits
        self.has_low_limits = provider.has_low_limits
        self.lock = provider.lock
        self.root_lock = provider.root_lock
        self.describe = provider.describe
        self.scrub = provider.scrub
        self.has_processors = False
        self._provider = provider
        self._sampling = provider.sampling
        self.sink = provider.sink
        self.keeper = provider.keeper
        self._ids = provider.ids

    def start_span(
        self,
        name: str,
        context: context_api.Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = (),
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> trace_api.Span:
        """Start a span; see ``opentelemetry.trace.Tracer``."""
        parent = trace_api.get_current_span(context)
        if start_time is None:
            start_time = time_ns()
        span = self._light(name, parent, kind, start_time)
        if span is None:
            span = self._start_sampled(
                RecordedSpan, name, context, parent, kind, attributes, links or (), start_time
            )
        elif attributes:
            span.set_attributes(attributes)
        if isinstance(span, RecordedSpan):
            for link in links or ():
                if link:
                    span.add_link(link.context, link.attributes)
            if not record_exception:
                span._record_exception = False
            if not set_status_on_exception:
                span._set_status_on_exception = False
            if self.has_processors:
                self._active.on_start(cast(sdk.Span, span), parent_context=context)
        return span

    def start_root(
        self,
        name: str,
        kind: SpanKind,
        start_time: int,
        remote: SpanContext | None = None,
        context: context_api.Context | None = None,
    ) -> RootSpan | UnsampledSpan:
        """Start the first span of a request as an object.

        Args:
            name: the name of the span.
            kind: the kind of the span.
            start_time: the start in nanoseconds since the epoch.
            remote: the identity of the caller's span, if its trace is continued.
            context: the context of the span, with the caller's baggage.
        """
        span = self._start_first(RootSpan, name, kind, start_time, remote)
        if type(span) is RootSpan:  # isinstance() with an abstract class is slow
            span.open(self.sink.process)
            if self.has_processors:
                self._active.on_start(cast(sdk.Span, span), parent_context=context)
        return span

    def start_request(
        self,
        names: tuple[str, str],
        start_time: int,
        remote: SpanContext | None = None,
        context: context_api.Context | None = None,
    ) -> RequestSpan | UnsampledSpan:
        """Start the spans of a request.

        Args:
            names: the names of its server span and of its operation span; empty for none.
            start_time: the start in nanoseconds since the epoch.
            remote: see :meth:`start_root`.
            context: see :meth:`start_root`.

        Returns:
            The innermost span.
        """
        bound = self._sampling.bound
        if remote is not None or bound is None or self.has_processors:
            return self._start_objects(names, start_time, remote, context)
        ids = next(self._ids.stock, None) or self._ids.refill()
        if bound is not EVERY and ids[0][8:] >= bound:
            return UnsampledSpan(ids[0], ids[1], RANDOM)
        if names[1]:
            return OperationSpan(self, names, ids, start_time)
        server = RootSpan(
            self, names[0], ids[0], ids[1], SAMPLED_RANDOM, None, SERVER, start_time
        )  # fmt: skip
        return server.open(self.sink.process)

    def _start_objects(
        self,
        names: tuple[str, str],
        start_time: int,
        remote: SpanContext | None,
        context: context_api.Context | None,
    ) -> RequestSpan | UnsampledSpan:
        """Start the spans of a request that cannot be joined from blocks."""
        server = self.start_root(names[0], SERVER, start_time, remote, context)
        if isinstance(server, UnsampledSpan):
            return server
        server.joinable = False
        if not names[1]:
            return server
        ids = server._trace_id, server._span_id, self._ids.draw()[1]
        operation = OperationSpan(self, names, ids, start_time)
        operation.adopt(server)
        if self.has_processors:
            above = trace_api.set_span_in_context(server, context)
            self._active.on_start(cast(sdk.Span, operation), parent_context=above)
        return operation

    def _start_first(
        self,
        recorded: type[Recorded],
        name: str,
        kind: SpanKind,
        start_time: int,
        remote: SpanContext | None,
    ) -> Recorded | UnsampledSpan:
        trace_id, span_id, _ = self._ids.draw()
        flags, parent_sampled, state = RANDOM, None, None
        if remote is not None:
            trace_id, state = remote.trace_id.to_bytes(16, "big"), remote.trace_state
            flags, parent_sampled = _inherited(remote.trace_flags), remote.trace_flags.sampled
        sampling = self._sampling
        if sampling.bound is None:
            parent = trace_api.NonRecordingSpan(remote) if remote else trace_api.INVALID_SPAN
            context = trace_api.set_span_in_context(parent, context_api.Context())
            return self._start_sampled(recorded, name, context, parent, kind, None, (), start_time)
        if not sampling.decide(trace_id, parent_sampled):
            return UnsampledSpan(trace_id, span_id, flags, state)
        flags = SAMPLED_RANDOM if flags is RANDOM else TraceFlags(flags | TraceFlags.SAMPLED)
        span = recorded(self, name, trace_id, span_id, flags, remote, kind, start_time)
        if state:
            span._trace_state = state
        return span

    def ending(self, span: RecordedSpan) -> None:
        """Notify the processors that a span is about to end; they may still change it."""
        on_ending(self._active, cast(sdk.Span, span))

    def ended(self, span: RecordedSpan) -> None:
        """Pass a span that ended to the sink and the processors."""
        if span._flags & TraceFlags.SAMPLED:
            root = span._root
            if root is None:
                self.sink.write((span,))
            else:
                root.add(span, self.sink)
        if self.has_processors:
            self._active.on_end(span)

    @property
    def _active(self) -> Any:
        return active_processor(self._provider)

    def _light(
        self, name: str, parent: trace_api.Span, kind: SpanKind, start_time: int
    ) -> LightSpan | None:
        """Start a span without calling the sampler; ``None`` if it must be called."""
        if self._sampling.bound is None:
            return None
        if isinstance(parent, LightSpan):
            span_id = self._ids.draw()[1]
            if isinstance(parent, UnsampledSpan):
                return UnsampledSpan(parent._trace_id, span_id, parent._flags, parent._trace_state)
            span = RecordedSpan(
                self, name, parent._trace_id, span_id, parent._flags, parent, kind, start_time
            )
            return span.inherit(parent) if isinstance(parent, RecordedSpan) else span
        remote = parent.get_span_context()
        parent_context = remote if remote.is_valid else None
        return self._start_first(RecordedSpan, name, kind, start_time, parent_context)

    def _start_sampled(
        self,
        recorded: type[Recorded],
        name: str,
        context: context_api.Context | None,
        parent: trace_api.Span,
        kind: SpanKind,
        attributes: Attributes,
        links: Sequence[Link],
        start_time: int,
    ) -> Recorded | UnsampledSpan:
        identity = parent.get_span_context()
        trace_id, span_id, _ = self._ids.draw()
        flags = RANDOM
        if identity.is_valid:
            trace_id = identity.trace_id.to_bytes(16, "big")
            flags = _inherited(identity.trace_flags)
        number = int.from_bytes(trace_id, "big")
        result = self.sampler.should_sample(context, number, name, kind, attributes, links)
        state: TraceState | None = result.trace_state
        if result.decision is Decision.RECORD_AND_SAMPLE:
            flags = TraceFlags(flags | TraceFlags.SAMPLED)
        if result.decision is Decision.DROP:
            return UnsampledSpan(trace_id, span_id, flags, state)
        above: LightSpan | SpanContext | None = identity if identity.is_valid else None
        span = recorded(self, name, trace_id, span_id, flags, above, kind, start_time)
        if isinstance(parent, RecordedSpan):
            span.inherit(parent)
        span._trace_state = state or None
        if result.attributes:
            span.set_attributes(result.attributes)
        return span


class LightTracerProvider(sdk.TracerProvider):
    """A tracer provider of light spans.

    Args:
        sampling: the sampler of traces.
        resource: the resource of all spans.
        limits: the limits of a span.
        sink: the sink of sampled spans that ended.
        describe: a function that returns the attributes of an exception event.
        scrub: a function that removes personal data from the message of an exception.
        flush: a function that sends the written spans by a time of ``time.monotonic()``, and
            returns whether it succeeded.
        guard: the guard that reports exceptions of the processors.
        keeper: the decisions on recorded requests; ``None``: all are exported.
    """

    def __init__(
        self,
        sampling: Sampling,
        resource: Resource,
        limits: sdk.SpanLimits,
        sink: SpanSink,
        describe: Describe,
        scrub: Scrub,
        flush: Callable[[float], bool] = lambda deadline: True,
        guard: Guard | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        self._flush = flush
        self.keeper = keeper
        self._guard = guard or Guard()
        self.ids = Ids()
        super().__init__(
            sampling.sampler, resource, shutdown_on_exit=False,
            id_generator=cast(IdGenerator, self.ids), span_limits=limits,
        )  # fmt: skip
        self.sampling = sampling
        self.limits = limits
        # Reentrant: a signal handler or a finalizer may change a span during another change.
        self.lock = threading.RLock()
        # A log handler may take it, so no code that logs runs with it held.
        self.root_lock = threading.RLock()
        self.sink = sink
        self.describe = describe
        self.scrub = scrub
        self._light_tracers: dict[InstrumentationScope, LightTracer] = {}
        self._has_processors = False

    @property
    def has_low_limits(self) -> bool:
        """Return whether the limits can affect the attributes that this package sets."""
        limit = self.limits.max_span_attributes
        return self.limits.max_span_attribute_length is not None or (
            limit is not None and limit < MAX_KNOWN
        )

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> LightTracer:
        """Return the tracer of a library; the same one for the same arguments."""
        name, version = instrumenting_module_name or "", instrumenting_library_version or ""
        scope = InstrumentationScope(name, version, schema_url, attributes)
        with self.lock:
            tracer = self._light_tracers.get(scope)
            if tracer is None:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)
                    info = InstrumentationInfo(name, version, schema_url)
                tracer = self._light_tracers[scope] = LightTracer(self, scope, info)
                tracer.has_processors = self._has_processors
            return tracer

    def add_span_processor(self, span_processor: sdk.SpanProcessor) -> None:
        """Add a processor of the user; it is notified of every recorded span."""
        super().add_span_processor(GuardedProcessor(span_processor, self._guard))
        with self.lock:
            self._has_processors = True
            for tracer in self._light_tracers.values():
                tracer.has_processors = True

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send the written spans, and flush the user's processors.

        Args:
            timeout_millis: the timeout in milliseconds.
        """
        deadline = time.monotonic() + timeout_millis / 1000
        flushed = self._flush(deadline)
        left = int(max(deadline - time.monotonic(), 0.0) * 1000)
        return super().force_flush(left) and flushed

    def stop(self, deadline: float) -> None:
        """Shut down the user's processors, and return by a time of ``time.monotonic()``."""
        if self._has_processors:
            run_until(self.shutdown, deadline)

    def renew(self) -> None:
        """Replace ids, locks and process id in a forked child."""
        self.ids.__init__()  # type: ignore[misc]
        self.lock = threading.RLock()
        self.root_lock = threading.RLock()
        self._resource = of_child(self._resource)
        for tracer in self._light_tracers.values():
            tracer.lock = self.lock
            tracer.root_lock = self.root_lock
            tracer.origin = Origin(self._resource, tracer.origin.scope)

    def _handle_fork(self) -> None:
        """Do nothing. The SDK detects the resource again, with a new ``service.instance.id``."""


def _inherited(flags: TraceFlags) -> TraceFlags:
    """Return the flags of a child of a remote span, before its sampling: ``random`` is kept."""
    return RANDOM if flags & TraceFlags.RANDOM_TRACE_ID else TraceFlags(TraceFlags.DEFAULT)
