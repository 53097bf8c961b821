"""Recorded spans, which are both the API's ``Span`` and the SDK's ``ReadableSpan``, and spans that
are not sampled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from time import time_ns
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Protocol, final

from opentelemetry import trace as trace_api
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationInfo, InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util.types import Attributes, AttributeValue

from avatar_telemetry._base.log import LOGGER

if TYPE_CHECKING:
    from avatar_telemetry.tracing.encoder import Block
    from avatar_telemetry.tracing.ids import IdSet
    from avatar_telemetry.tracing.keep import Decision
    from avatar_telemetry.tracing.provider import LightTracer

UNSET = Status(StatusCode.UNSET)
PLAIN = frozenset((str, int, bool, float))
SAMPLED_RANDOM = TraceFlags(TraceFlags.SAMPLED | TraceFlags.RANDOM_TRACE_ID)
MAX_ENDED = 128
"""Spans that ended, after which a request writes them before its end."""


@dataclass(frozen=True, eq=False)
class Origin:
    """The origin that all spans of a tracer share. Two are equal only if identical.

    Args:
        resource: the resource of the spans.
        scope: the instrumented library.
    """

    resource: Resource
    scope: InstrumentationScope | None


class LightSpan(trace_api.Span):
    """The base class of spans, with ids as bytes and a context that is created on demand."""

    _tracer: LightTracer
    _trace_id: bytes
    _span_id: bytes
    _flags: TraceFlags
    _trace_state: trace_api.TraceState | None = None
    _made_context: SpanContext | None = None

    @property
    def trace_id(self) -> int:
        """The trace id."""
        return int.from_bytes(self._trace_id, "big")

    def get_span_context(self) -> SpanContext:
        """Return the immutable identity of the span."""
        made = self._made_context
        if made is None:
            made = self._made_context = SpanContext(
                int.from_bytes(self._trace_id, "big"), int.from_bytes(self._span_id, "big"),
                False, self._flags, self._trace_state,
            )  # fmt: skip
        return made


@final
class UnsampledSpan(LightSpan):
    """A span that records nothing and only propagates its trace."""

    def __init__(
        self,
        trace_id: bytes,
        span_id: bytes,
        flags: TraceFlags,
        trace_state: trace_api.TraceState | None = None,
    ) -> None:
        self._trace_id = trace_id
        self._span_id = span_id
        self._flags = flags
        if trace_state is not None:
            self._trace_state = trace_state

    def is_recording(self) -> bool:
        return False

    def end(self, end_time: int | None = None) -> None: ...

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None: ...

    def set_attribute(self, key: str, value: AttributeValue) -> None: ...

    def add_event(
        self, name: str, attributes: Attributes = None, timestamp: int | None = None
    ) -> None: ...

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None: ...

    def update_name(self, name: str) -> None: ...

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None: ...

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None: ...


class RecordedSpan(LightSpan, ReadableSpan):
    """A span that is recorded.

    It has two kinds of attributes: blocks that many spans share (:meth:`set_known`), and attributes
    that are set individually.

    Args:
        tracer: the tracer of the span, with its resource, scope, limits and sink.
        name: the name of the operation.
        trace_id: the id of its trace.
        span_id: the id of the span.
        flags: the flags of its trace.
        parent: the span or the identity of its parent, ``None`` for a root.
        kind: the kind of the span.
        start_time: the start in nanoseconds since the epoch.
    """

    # Defaults of the class, which cost nothing in a span without these values.
    _known: tuple[Block, ...] = ()
    _extra: dict[str, Any] | None = None
    _dropped_attributes = 0
    _dropped_events = 0
    _dropped_links = 0
    _events: Sequence[Event] = ()
    _links: Sequence[Link] = ()
    _status: Status = UNSET
    _end_time: int | None = None
    _record_exception = True
    _set_status_on_exception = True
    _root: RootSpan | None = None
    made_server: RootSpan | None = None
    """The server span of an :class:`OperationSpan`, after its creation."""

    def __init__(
        self,
        tracer: LightTracer,
        name: str,
        trace_id: bytes,
        span_id: bytes,
        flags: TraceFlags,
        parent: LightSpan | SpanContext | None,
        kind: SpanKind,
        start_time: int,
    ) -> None:
        # ReadableSpan.__init__ would set many fields that are defaults of the class here.
        self._tracer = tracer
        self._name = name
        self._trace_id = trace_id
        self._span_id = span_id
        self._flags = flags
        self._parent_span = parent
        self._kind = kind
        self._start_time: int = start_time
        self._trace_state = None
        self.joinable = True
        """True while the span is unchanged, so that it can be joined from encoded blocks."""

    # The interface for exporters

    @property
    def parent(self) -> SpanContext | None:
        """The identity of the parent."""
        parent = self._parent_span
        return parent.get_span_context() if isinstance(parent, LightSpan) else parent

    @property
    def context(self) -> SpanContext:
        """The identity of the span; the SDK's name for :meth:`get_span_context`."""
        return self.get_span_context()

    @property
    def origin(self) -> Origin:
        """The resource and the scope of the tracer."""
        return self._tracer.origin

    @property
    def resource(self) -> Resource:
        """The resource of the span."""
        return self._tracer.origin.resource

    @property
    def instrumentation_scope(self) -> InstrumentationScope | None:
        """The instrumented library."""
        return self._tracer.origin.scope

    @property
    def instrumentation_info(self) -> InstrumentationInfo:
        """The deprecated form of :attr:`instrumentation_scope`."""
        return self._tracer.instrumentation_info

    @property
    def attributes(self) -> Mapping[str, AttributeValue]:
        """All attributes; one that was set individually replaces a known one of the same key."""
        return MappingProxyType(self._attributes)

    @property
    def dropped_attributes(self) -> int:
        return self._dropped_attributes

    @property
    def dropped_events(self) -> int:
        return self._dropped_events

    @property
    def dropped_links(self) -> int:
        return self._dropped_links

    def without_trace_state(self) -> RecordedSpan:
        """Return the span without a caller's tracestate, for export."""
        if self._trace_state is None:
            return self
        bare = copy(self)
        bare._trace_state = bare._made_context = None
        return bare

    # Fields of ReadableSpan that its to_json reads.

    @property
    def _attributes(self) -> dict[str, Any]:  # type: ignore[override]
        attributes = {
            key: value
            for block in self._known
            for key, value in zip(block.keys, block.values, strict=True)
            if value is not None
        }
        if self._extra:
            attributes.update(self._extra)
        return attributes

    @property
    def _context(self) -> SpanContext:  # type: ignore[override]
        return self.get_span_context()

    @property
    def _resource(self) -> Resource:  # type: ignore[override]
        return self._tracer.origin.resource

    # The API for instrumented code

    def is_recording(self) -> bool:
        """Return whether the span has not ended."""
        return self._end_time is None

    def set_known(self, *blocks: Block) -> None:
        """Set the blocks of attributes, in place of earlier blocks.

        Args:
            blocks: the blocks, without duplicate keys.
        """
        if self._tracer.has_low_limits or (self._extra is not None and self._exceeds_limit(blocks)):
            for block in blocks:
                for key, value in zip(block.keys, block.values, strict=True):
                    if value is not None:
                        self.set_attribute(key, value)
            return
        self._known = blocks

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Set an attribute, within the limits of the provider."""
        if self._has_ended("attribute"):
            return
        limits = self._tracer.limits
        is_valid = True
        if (
            type(value) not in PLAIN
            or type(key) is not str
            or not key
            or self._tracer.has_low_limits
        ):
            # Not with the lock held: it logs an invalid value, and a log handler may block.
            cleaned = BoundedAttributes(1, None, False, limits.max_span_attribute_length)
            cleaned[key] = value
            is_valid = bool(cleaned)
            value = cleaned[key] if is_valid else None
        with self._tracer.lock:
            if self._end_time is not None:
                return
            if not is_valid:
                self._dropped_attributes += 1
                return
            extra = self._extra
            if extra is None:
                extra = self._extra = {}
            extra.pop(key, None)
            limit = limits.max_span_attributes
            if limit is not None and len(extra) >= limit:
                self._dropped_attributes += 1
                if not limit:
                    return
                del extra[next(iter(extra))]  # the oldest, as in the SDK
            extra[key] = value

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Set several attributes. A key that is not a text is converted, as in the SDK."""
        for key, value in attributes.items():
            if key and type(key) is not str:
                key = next(iter(BoundedAttributes(1, {key: None})), "")  # no key: it is dropped
            self.set_attribute(key, value)

    def add_event(
        self, name: str, attributes: Attributes = None, timestamp: int | None = None
    ) -> None:
        """Add an event; above the limit the oldest one is dropped."""
        limits = self._tracer.limits
        bounded = BoundedAttributes(
            limits.max_event_attributes, attributes, True, limits.max_attribute_length
        )
        event = Event(name, bounded, timestamp if timestamp is not None else time_ns())
        if self._has_ended("event"):
            return
        with self._tracer.lock:
            if self._end_time is None:
                events, dropped = _with(self._events, event, limits.max_events)
                self._events = events
                self._dropped_events += dropped

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        """Add a link that is not empty; above the limit the oldest one is dropped."""
        if not (context and (context.is_valid or attributes or context.trace_state)):
            return
        limits = self._tracer.limits
        bounded = BoundedAttributes(
            limits.max_link_attributes, attributes, True, limits.max_attribute_length
        )
        if self._has_ended("link"):
            return
        with self._tracer.lock:
            if self._end_time is None:
                links, dropped = _with(self._links, Link(context, bounded), limits.max_links)
                self._links = links
                self._dropped_links += dropped

    def update_name(self, name: str) -> None:
        """Set another name."""
        if not self._has_ended("name"):
            self._name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Set the status. ``OK`` is final, ``UNSET`` is ignored (trace API specification)."""
        if self._has_ended("status"):
            return
        code = status.status_code if isinstance(status, Status) else status
        if not isinstance(code, StatusCode) or code is StatusCode.UNSET:
            return
        if self._status.status_code is StatusCode.OK:
            return
        if isinstance(status, Status):
            if description is not None:
                LOGGER.warning("set_status(): the description is ignored, a Status has its own")
            description = status.description
        if code is StatusCode.ERROR and description is not None:
            description = self._tracer.scrub(description)
        self._status = Status(code, description if code is StatusCode.ERROR else None)

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Add an ``exception`` event, with the data that the privacy mode permits."""
        described: dict[str, Any] = dict(self._tracer.describe(exception))
        described["exception.escaped"] = str(escaped)
        if attributes:
            described.update(attributes)
        self.add_event("exception", described, timestamp)

    def end_known(self, name: str, blocks: tuple[Block, ...], end_time: int) -> None:
        """Set the final name and the attributes of a span of this package, and end it.

        Args:
            name: the name of the span.
            blocks: see :meth:`set_known`.
            end_time: the end in nanoseconds since the epoch.
        """
        self._name = name
        tracer = self._tracer
        if tracer.has_low_limits or tracer.has_processors or self._end_time is not None:
            self.set_known(*blocks)
            self.end(end_time)
            return
        self._known = blocks
        self._end_time = end_time
        tracer.ended(self)

    def end(self, end_time: int | None = None) -> None:
        """End the span and export it. Only the first call counts."""
        self.joinable = False
        with self._tracer.lock:
            first = self._end_time is None
            if first:
                if self._tracer.has_processors:
                    self._tracer.ending(self)
                self._end_time = end_time if end_time is not None else time_ns()
        if first:
            self._tracer.ended(self)
        else:
            LOGGER.warning("end() was called on a span that has ended; the call is ignored")

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        if exc_val is not None and self.is_recording():
            if self._record_exception:
                self.record_exception(exc_val, escaped=True)
            if self._set_status_on_exception:
                self.set_status(Status(StatusCode.ERROR, _description_of(exc_val)))
        super().__exit__(exc_type, exc_val, exc_tb)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self._name!r}, context={self.get_span_context()!r})"

    def inherit(self, parent: RecordedSpan) -> RecordedSpan:
        """Copy the values that all spans under a parent share with it.

        Args:
            parent: the parent, a span of this process.

        Returns:
            This span.
        """
        if parent._trace_state is not None:
            self._trace_state = parent._trace_state
        self._root = parent._root
        return self

    def _exceeds_limit(self, blocks: tuple[Block, ...]) -> bool:
        limit = self._tracer.limits.max_span_attributes
        known = sum(len(block.keys) for block in blocks)
        return limit is not None and len(self._extra or ()) + known > limit

    def _has_ended(self, what: str) -> bool:
        """Return whether the span has ended, and log that; else mark it as changed.

        Do not call this with the tracer's lock held: a log handler may block, and all spans of the
        process would wait for it.
        """
        if self._end_time is None:
            self.joinable = False
            return False
        LOGGER.warning("the %s of a span that has ended cannot be set; the call is ignored", what)
        return True


class RootSpan(RecordedSpan):
    """The server span of a request. It keeps the spans under it that have ended, itself included,
    until the request ends.

    Spans may end in any thread and after the request: ``append`` and ``pop`` of a list are atomic,
    so each span is taken once, at the end of the request or at its own later end. In a forked child
    the request does not end: each span is written when it ends. See :class:`RecordedSpan` for the
    arguments.
    """

    _closed = False
    _process: object
    _ended: list[RecordedSpan]
    _held: list[Callable[[], object]]
    """The writes of log records, until the decision."""
    decision: Decision | None = None
    """The decision on the request, once it is made."""

    @property
    def _root(self) -> RootSpan:  # type: ignore[override]
        return self  # not a field: only the garbage collector frees an object that refers to itself

    def open(self, process: object) -> RootSpan:
        """Start to keep spans.

        Args:
            process: the process in which the request runs; see :class:`SpanSink`.

        Returns:
            This span.
        """
        self._process = process
        self._ended = []
        self._held = []  # in a forked child without the records of the parent
        return self

    def add(self, span: RecordedSpan, sink: SpanSink) -> None:
        """Keep a span that ended, or write it at once after the end of the request.

        Args:
            span: this span, or one under it.
            sink: the sink of spans that are not kept.
        """
        if self._process is not sink.process:
            self.open(sink.process)  # the kept spans belong to the parent process
            self._closed = True
        self._ended.append(span)
        if self._closed or (len(self._ended) >= MAX_ENDED and span is not self):
            self._decide_early()
            spans, decision = self._pop(), self.decision
            if decision is None or decision.kept:
                sink.write(spans)

    def take(self, sink: SpanSink) -> list[RecordedSpan]:
        """Return the spans that have ended, in the order of their ends, at the end of the request.

        Args:
            sink: the sink of the spans that will end later.
        """
        if self._process is not sink.process:
            self.open(sink.process)
        self._closed = True
        return self._pop() if self._ended else []

    def end_joined(self, end_time: int) -> list[RecordedSpan]:
        """End a span that is not written as an object, at the end of the request.

        Args:
            end_time: the end in nanoseconds since the epoch.

        Returns:
            See :meth:`take`.
        """
        self._end_time = end_time
        return self.take(self._tracer.sink)

    @property
    def caller(self) -> str | None:
        """The member ``ot`` of the tracestate of a caller who has sampled the trace; ``None``
        without such a caller."""
        parent = self._parent_span
        if not isinstance(parent, SpanContext) or not parent.trace_flags.sampled:
            return None
        # That of a span of an outer middleware may be of any client.
        return parent.trace_state.get("ot", "") if parent.is_remote else ""

    def settle(self, decision: Decision) -> Decision:
        """Set the decision on the request, and write or discard its log records.

        Returns:
            The first decision that was set.
        """
        tracer = self._tracer
        with tracer.root_lock:
            if self.decision is None:
                self.decision = decision
        if self._process is not tracer.sink.process:
            self._held = []  # a forked child: the parent writes them
        self._release(self.decision)
        return self.decision

    def hold(self, write: Callable[[], object]) -> bool:
        """Keep the write of a log record of the request until the decision.

        Args:
            write: a function that writes the record; it must not raise.

        Returns:
            False where the caller must write the record: no decision will be made.
        """
        tracer = self._tracer
        if tracer.keeper is None or not self._flags & TraceFlags.SAMPLED:
            return False
        if self.decision is None and (self._closed or self._process is not tracer.sink.process):
            return False
        self._held.append(write)
        if len(self._held) >= MAX_ENDED:
            self._decide_early()
        if self.decision is not None:
            self._release(self.decision)
        return True

    def _decide_early(self) -> None:
        """Decide to keep the request, because a part of it is written before its end."""
        keeper = self._tracer.keeper
        if keeper is not None and self.decision is None and not self._closed:
            self.settle(keeper.decide_early(self._trace_id, self.caller))

    def _release(self, decision: Decision) -> None:
        held = self._held
        while held:
            try:
                write = held.pop(0)
            except IndexError:
                return  # another thread took the last one
            if decision.kept:
                write()

    def _pop(self) -> list[RecordedSpan]:
        taken: list[RecordedSpan] = []
        spans = self._ended
        while spans:
            try:
                taken.append(spans.pop())
            except IndexError:
                break  # another thread took the last one
        taken.reverse()
        return taken


@final
class OperationSpan(RecordedSpan):
    """The operation span of a request, inside its server span.

    It creates the object of the server span on demand: most requests do not need it, and both spans
    are joined from encoded blocks.

    Args:
        tracer: the tracer of the request.
        names: the names of the server span and of this one.
        ids: the trace id and the ids of the two spans.
        start_time: the start in nanoseconds since the epoch.
    """

    _kind = SpanKind.INTERNAL
    _flags = SAMPLED_RANDOM
    _is_joined = False
    _decision: Decision | None = None

    def __init__(
        self, tracer: LightTracer, names: tuple[str, str], ids: IdSet, start_time: int
    ) -> None:
        self._tracer = tracer
        self._server_name, self._name = names
        self._trace_id, self._server_id, self._span_id = ids
        self._start_time = start_time
        self._process = tracer.sink.process
        self.joinable = True
        self.made_server = None

    @property
    def _root(self) -> RootSpan:  # type: ignore[override]
        return self.made_server or self._make_server()

    @property
    def _parent_span(self) -> RootSpan:  # type: ignore[override]
        return self._root

    def adopt(self, server: RootSpan) -> None:
        """Use a server span that was started before; the two are not joined from blocks.

        Args:
            server: the server span, with the same ids.
        """
        self._flags = server._flags
        self._trace_state = server._trace_state
        self.made_server = server
        self.joinable = False

    def end_joined(self, end_time: int) -> list[RecordedSpan]:
        """End this span and its server span; see :meth:`RootSpan.end_joined`."""
        self._end_time = end_time
        self._is_joined = True
        server = self.made_server
        return [] if server is None else server.end_joined(end_time)

    def settle(self, decision: Decision) -> Decision:
        """Set the decision on the request; see :meth:`RootSpan.settle`."""
        self._decision = decision
        server = self.made_server
        return decision if server is None else server.settle(decision)

    def _make_server(self) -> RootSpan:
        tracer = self._tracer
        with tracer.root_lock:
            server = self.made_server
            if server is not None:
                return server
            server = RootSpan(
                tracer, self._server_name, self._trace_id, self._server_id, self._flags, None,
                SpanKind.SERVER, self._start_time,
            )  # fmt: skip
            self.made_server = server.open(self._process)
        # Another thread may end the request meanwhile. It sets the decision and the mark before it
        # reads made_server, so at least one of both threads passes them on.
        if self._decision is not None:
            server.settle(self._decision)
        if self._is_joined:
            server.end_joined(self._end_time or 0)
        return server


RequestSpan = OperationSpan | RootSpan
"""The innermost span of a request."""


def hold_record(write: Callable[[], object]) -> bool:
    """Keep the write of a log record until the decision on the request of the current span; see
    :meth:`RootSpan.hold`."""
    span = trace_api.get_current_span()
    if not isinstance(span, RecordedSpan) or span._tracer.keeper is None:
        return False
    root = span._root
    return root is not None and root.hold(write)


class SpanSink(Protocol):
    """A sink of the spans of a provider."""

    process: object
    """An identity of the process: another object in a forked child."""

    def write(self, spans: Sequence[RecordedSpan], /) -> bool:
        """Write spans that ended, and return whether the last of them was written. Never blocks,
        never raises."""


def _description_of(error: BaseException) -> str:
    """Return the SDK's description of an exception, or its type if that raises."""
    name = type(error).__name__
    try:
        return f"{name}: {error}"
    except Exception:  # noqa: BLE001 - it calls methods of the application's exception
        return name


def _with(items: Sequence[Any], item: Any, limit: int | None) -> tuple[list[Any], int]:
    """Append an item; return the newest ones within the limit, and the number of dropped ones."""
    both = [*items, item]
    if limit is None or len(both) <= limit:
        return both, 0
    return both[len(both) - limit :], len(both) - limit
