"""The spans of one request: a server span, and inside it an operation span.

span, context, recorded = tracing.begin(environ, route, method)
context_api.attach(context)                    # while the application's code runs
tracing.end(request, recorded, duration)       # names and attributes are set at the end

The spans of a common request are joined from encoded blocks, one for each target, user agent,
address, person, size and outcome. Those of any other request use the general encoder.
"""

from __future__ import annotations

from time import time_ns
from typing import TYPE_CHECKING

from opentelemetry.context import Context
from opentelemetry.trace import TraceFlags, set_span_in_context

from avatar_telemetry._base.log import debug, debugging
from avatar_telemetry._base.memo import Memo
from avatar_telemetry._base.otel_private import span_key
from avatar_telemetry.config.settings import Semconv
from avatar_telemetry.http.environ import as_text
from avatar_telemetry.http.excluded import ExcludedUrls
from avatar_telemetry.http.headers import HeaderCapture
from avatar_telemetry.http.labels import OTHER
from avatar_telemetry.http.privacy import Privacy, decoded
from avatar_telemetry.http.semconv import (
    ADDRESS_NAMES,
    AGENT_NAMES,
    FILE_NAMES,
    SIZE_NAMES,
    TARGET_NAMES,
    HttpAttributes,
    Peer,
    RawTarget,
)
from avatar_telemetry.metrics.instruments import REQUESTS_DROPPED, REQUESTS_KEPT
from avatar_telemetry.profiles.model import Kind, Profile, Route
from avatar_telemetry.tracing.encoder import EMPTY, Block, pack_times
from avatar_telemetry.tracing.keep import KEPT, Ended
from avatar_telemetry.tracing.span import (
    UNSET,
    OperationSpan,
    RequestSpan,
    RootSpan,
    UnsampledSpan,
)
from avatar_telemetry.tracing.writer import ITEM_HEADS, SPANS, SpanWriter, pack_section
from avatar_telemetry.wsgi.endings import (
    EXTRA_NAMES,
    PERSONAL_NAMES,
    Ending,
    make_ending,
)
from avatar_telemetry.wsgi.head import is_length
from avatar_telemetry.wsgi.names import error_type, has_operation, server_name
from avatar_telemetry.wsgi.outcome import Outcome, undetermined

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from avatar_telemetry.metrics.metrics import Trace
    from avatar_telemetry.tracing.incoming import Incoming
    from avatar_telemetry.tracing.keep import Decision, Keeper
    from avatar_telemetry.tracing.provider import LightTracer
    from avatar_telemetry.tracing.span import LightSpan, SpanSink
    from avatar_telemetry.wsgi.request import AvatarRequest
    from avatar_telemetry.wsgi.upload import Upload

MAX_BLOCKS = 1024
"""Blocks in each half of a cache."""
MAX_PATH_LENGTH = 128
"""Characters of a path whose personal part is cached; that of an avatar has 72."""
MAX_AGENT_LENGTH = 256
"""Characters of a cached user agent."""

SAMPLED = TraceFlags.SAMPLED
View = tuple["str | None", "str | None"]
"""The application's own URL pattern, unless the profile has a route, and the view."""
Begun = tuple[Block, Block, Block, Block]
"""The blocks of target, user agent, addresses, and of the personal part of the path."""
Recorded = tuple[RequestSpan, Begun]
"""The innermost span of a request, and the blocks that are known from its start."""
Started = tuple[RequestSpan | UnsampledSpan, Context, "Recorded | None"]
"""The innermost span, the context while the application's code runs, and the spans if they are
recorded."""


class RequestTracing:
    """The tracing of the requests of one application.

    Args:
        tracer: the tracer that starts the spans.
        incoming: the reader of callers' trace contexts.
        http: the builder of HTTP attributes.
        privacy: the redaction of client data.
        profile: the profile of the application.
        excluded: the URLs of requests without spans.
        request_headers: the captured request headers.
        response_headers: the captured response headers.
        sink: the sink of the spans when the request ends.
    """

    def __init__(
        self,
        tracer: LightTracer,
        incoming: Incoming,
        http: HttpAttributes,
        privacy: Privacy,
        profile: Profile,
        excluded: ExcludedUrls,
        request_headers: HeaderCapture,
        response_headers: HeaderCapture,
        sink: SpanSink,
    ) -> None:
        self.tracer = tracer
        self.http = http
        self.privacy = privacy
        self._response_headers = response_headers
        self._incoming = incoming
        self._profile = profile
        self._excluded = excluded
        self._request_headers = request_headers
        self._captures_response = bool(response_headers)
        self._captures_request = bool(request_headers)
        self._excludes = bool(excluded)
        # The application has configured its logging now; a check for every request would cost as
        # much as the sampler.
        self._logs_debug = debugging()
        self._sink = sink
        self._keeper = tracer.keeper
        self._span_key = span_key()
        self._writer: SpanWriter | None = None
        """The writer of spans that are joined from blocks."""
        if (
            isinstance(sink, SpanWriter)
            and not tracer.has_low_limits
            and not self._captures_response
        ):
            self._writer = sink
            self._scope = sink.scope(tracer.origin)
        self._make_memos(http.mode)

    def _make_memos(self, mode: Semconv) -> None:
        http = self.http
        self.targets: Memo[RawTarget, Block] = Memo(
            lambda key: Block(TARGET_NAMES[mode], http.target(key)), MAX_BLOCKS, http.keeps
        )
        self.agents: Memo[str, Block] = Memo(
            lambda key: Block(AGENT_NAMES[mode], http.agent(key)),
            MAX_BLOCKS, lambda key: len(key) <= MAX_AGENT_LENGTH,
        )  # fmt: skip
        self.addresses: Memo[Peer, Block] = Memo(
            lambda key: Block(ADDRESS_NAMES[mode], http.address(key)), MAX_BLOCKS
        )
        self.people: Memo[str, Block] = Memo(
            self._find_personal, MAX_BLOCKS, lambda path: len(path) <= MAX_PATH_LENGTH
        )
        self.endings: Memo[Outcome | tuple[Outcome, bool], Ending] = Memo(
            self._make_ending, MAX_BLOCKS
        )
        self._kept_endings: Memo[tuple[Outcome, bool | None, Decision], Ending] = Memo(
            lambda key: make_ending(self.http, *key[:2], error_type(key[0].status), key[2]),
            MAX_BLOCKS,
            lambda key: b"rv:" not in key[2].state,  # with which each request has its own
        )
        self._ends: Memo[Outcome | tuple[Outcome, bool], Ended] = Memo(self._make_end, MAX_BLOCKS)
        self._names: Memo[tuple[str, Kind, str], tuple[str, str]] = Memo(
            lambda key: (server_name(key[0], key[2]), key[1] * has_operation(key[1], key[0])),
            MAX_BLOCKS,
        )
        self._sent: Memo[int, Block] = Memo(
            lambda size: Block(SIZE_NAMES[mode], http.size(size)), MAX_BLOCKS
        )
        self.sizes: Memo[str, Block | None] = Memo(
            lambda length: (
                Block(SIZE_NAMES[mode], http.size(int(length))) if is_length(length) else None
            ),
            MAX_BLOCKS,
        )
        self.extras: Memo[tuple[View | None, int], Block] = Memo(
            lambda key: Block(EXTRA_NAMES, (*(key[0] or (None, None)), key[1] or None)),
            MAX_BLOCKS,
        )

    def begin(self, environ: WSGIEnvironment, route: Route, method: str) -> Started | None:
        """Start the spans of a request.

        Args:
            environ: the WSGI environment.
            route: the route of its path.
            method: the method, as a label.

        Returns:
            ``None`` if the URL is excluded.
        """
        if self._excludes and self._excluded.contains(environ):
            return None
        parent, link, context = self._incoming.caller(environ)
        names = self._names[method, route.kind, route.template]
        span = self.tracer.start_request(names, time_ns(), parent, context)
        if self._logs_debug:
            _log_start(names[0], span)
        current = set_span_in_context(span, context) if context else Context({self._span_key: span})
        if type(span) is UnsampledSpan:  # isinstance() with an abstract class is slow
            return span, current, None
        if link is not None:
            span._root.add_link(link)
        if self._captures_request:
            span._root.set_attributes(self._request_headers.of_request(environ))
        try:
            begun = self._read(environ, route)
        except (AttributeError, TypeError):  # a value that is not a text; the spans have begun
            begun = self._read(as_text(environ), route)
        return span, current, (span, begun)

    def end(self, request: AvatarRequest, recorded: Recorded, duration: float) -> Trace | None:
        """End the spans of a request, and write all of them unless it is dropped.

        Args:
            request: the request that ended.
            recorded: its spans.
            duration: the seconds since its start.

        Returns:
            The trace, or ``None`` where its server span was not written.
        """
        span, begun = recorded
        end_time = span._start_time + int(duration * 1e9)
        outcome = request.outcome or undetermined(request)
        decision = KEPT
        if self._keeper is not None and span._flags & SAMPLED:
            decision = self._decide(self._keeper, request, outcome, span, duration)
            if not decision.kept and not self.tracer.has_processors:
                span.end_joined(end_time)
                return None
        writer, server = self._writer, span.made_server
        if (
            writer is None
            or not span.joinable
            or (server is not None and not server.joinable)
            or request.error is not None
            or request.upload is not None
            or outcome.method == OTHER
            or self.tracer.has_processors
        ):
            try:
                self._end_objects(request, outcome, recorded, end_time, decision)
            finally:
                root = span._root
                spans = root.take(self._sink)
                written = decision.kept and bool(spans) and self._sink.write(spans)
            return (root._trace_id, root._span_id, end_time) if written else None
        success = request.success
        if decision is KEPT:
            ending = self.endings[outcome if success is None else (outcome, success)]
        else:
            ending = self._kept_endings[outcome, success, decision]
        items, encoded = self._join(request, ending, span, begun, end_time)
        others = span.end_joined(end_time)
        if others:
            written = writer.write(others, (span.origin, items, encoded))
        else:
            scope = self._scope
            head = pack_section(len(scope), len(encoded))
            written = writer.target.put(SPANS, items, head + scope + encoded)
        if not written:
            return None
        server_id = span._server_id if type(span) is OperationSpan else span._span_id
        return span._trace_id, server_id, end_time

    def _decide(
        self,
        keeper: Keeper,
        request: AvatarRequest,
        outcome: Outcome,
        span: RequestSpan,
        duration: float,
    ) -> Decision:
        """Decide whether a request is kept, and count it."""
        root = span if type(span) is RootSpan else span.made_server
        decision = root.decision if root is not None else None
        if decision is None:
            success, caller = request.success, root.caller if root is not None else None
            ended = self._ends[outcome if success is None else (outcome, success)]
            decision = keeper.decide(ended, duration, span._trace_id, caller)
        decision = span.settle(decision)
        instrument = REQUESTS_KEPT if decision.kept else REQUESTS_DROPPED
        with request.telemetry.guard.at("store"):
            request.telemetry.metrics.count(instrument, decision.reason)
        return decision

    def _join(
        self,
        request: AvatarRequest,
        ending: Ending,
        span: RequestSpan,
        begun: Begun,
        end_time: int,
    ) -> tuple[int, bytes]:
        """Return the number and the bytes of the spans of a request, if no code changed them."""
        target, agent, address, person = begun
        own, inner = ending.server, ending.operation
        trace_id, server_id, personal = span._trace_id, span._span_id, person.data
        times = pack_times(0x39, span._start_time, 0x41, end_time)
        operation = b""
        if type(span) is OperationSpan and inner is not None:
            operation_id, server_id = server_id, span._server_id
            operation = b"".join((
                b"\x12\x08", operation_id, b"\x22\x08", server_id, inner.head, times, inner.data,
                personal, inner.tail,
            ))  # fmt: skip
        announced = self.sizes[request.length] if ending.is_sized else None
        sizes = (announced or self._sent_size(request)).data
        view, queries = request.view, request.db_queries
        if view is not None or queries:
            sizes += self.extras[view, queries].data
        server = b"".join((
            b"\x12\x08", server_id, own.head, times, own.data, target.data, agent.data,
            address.data, personal, sizes, own.tail,
        ))  # fmt: skip
        head = ITEM_HEADS[len(server)]
        if not operation:
            return 1, head + trace_id + server
        parts = (ITEM_HEADS[len(operation)], trace_id, operation, head, trace_id, server)
        return 2, b"".join(parts)

    def _end_objects(
        self,
        request: AvatarRequest,
        outcome: Outcome,
        recorded: Recorded,
        end_time: int,
        decision: Decision,
    ) -> None:
        """End the spans as objects, which use the general encoder."""
        span, (target, agent, address, person) = recorded
        server = span._root
        error = self._error_type(request)
        ending = make_ending(self.http, outcome, request.success, error, decision)
        own, inner = ending.server, ending.operation
        if inner is not None:
            if inner.status is not UNSET:
                span.set_status(inner.status)
            file = Block(FILE_NAMES, self.file(request.upload))
            span.end_known(inner.name, (inner.block, person, file), end_time)
        name = own.name
        if outcome.method == OTHER and self.http.all_methods:
            name = server_name(str(target.values[0]), request.route.template)
        if self._captures_response:
            server.set_attributes(self._response_headers.of(request.response_headers))
        for event in request.stacks:
            server.add_event(*event)
        if request.error is not None:
            server.record_exception(request.error)
        if own.status is not UNSET:
            server.set_status(own.status)
        announced = self.sizes[request.length] if ending.is_sized else None
        size = announced or self._sent_size(request)
        blocks = (
            own.block,
            target,
            agent,
            address,
            person,
            size,
            self.extras[request.view, request.db_queries],
        )
        server.end_known(name, blocks, end_time)

    def _make_ending(self, key: Outcome | tuple[Outcome, bool]) -> Ending:
        outcome, success = (key, None) if isinstance(key, Outcome) else key
        return make_ending(self.http, outcome, success, error_type(outcome.status))

    def _make_end(self, key: Outcome | tuple[Outcome, bool]) -> Ended:
        outcome, success = (key, None) if isinstance(key, Outcome) else key
        route, status = outcome.route, outcome.status
        auth_failed = success is False and route.kind == "auth"
        return Ended(route.template, status, error_type(status) is not None, auth_failed)

    def _error_type(self, request: AvatarRequest) -> str | None:
        """Return :func:`error_type` of the status, or the type of the exception for a 5xx. An
        exception that the application handled with another status is an event, not a failure."""
        error = error_type(request.status)
        if error is None or request.error is None:
            return error
        return self.privacy.exception(request.error)[0]

    def _sent_size(self, request: AvatarRequest) -> Block:
        """Return the size of the response body that was sent."""
        return EMPTY if request.method == "HEAD" else self._sent[request.sent]

    def _read(self, environ: WSGIEnvironment, route: Route) -> Begun:
        target, agent, addresses = self.http.read(environ, route.template)
        person = self.people[environ.get("PATH_INFO", "")] if route.reveals else EMPTY
        return self.targets[target], self.agents[agent], self.addresses[addresses], person

    def file(self, upload: Upload | None) -> tuple[str | None, int | None, str | None]:
        """Return the values of the file attributes, for the first file of an upload."""
        files = upload.files() if upload is not None else None
        if not upload or not files:
            return None, None, None
        first = files[0]
        return self.privacy.file_name(decoded(upload.first_name)), first.size, first.content_type

    def _find_personal(self, path: str) -> Block:
        found = self._profile.personal(self._profile.route(path), path)
        if found is None:
            return EMPTY
        kind, text = found
        return Block(PERSONAL_NAMES[kind], (self.privacy.digest(text),))


def _log_start(name: str, span: LightSpan) -> None:
    identity = span.get_span_context()
    decision = "sampled" if identity.trace_flags.sampled else "not sampled"
    debug("%s: trace %032x is %s", name, identity.trace_id, decision)
