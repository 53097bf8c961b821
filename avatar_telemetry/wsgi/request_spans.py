"""The spans of one request: a server span, and in it the span of what the request is for.

server, context, recorded = tracing.begin(environ, route, method)
context_api.attach(context)                    # while the application's code runs
tracing.end(request, recorded, duration)       # names and attributes are set at the end

A common request is never made of attributes: its spans are joined from blocks that are encoded
already, one for each target, user agent, address, person, size and outcome. The spans of any other
request take the general encoder.
"""

from __future__ import annotations

from time import time_ns
from typing import TYPE_CHECKING

from opentelemetry.context import Context
from opentelemetry.trace import set_span_in_context

from avatar_telemetry.client.environ import as_text
from avatar_telemetry.client.excluded import ExcludedUrls
from avatar_telemetry.client.headers import HeaderCapture
from avatar_telemetry.client.privacy import Privacy, decoded
from avatar_telemetry.client.semconv import (
    ADDRESS_NAMES,
    AGENT_NAMES,
    FILE_NAMES,
    SIZE_NAMES,
    TARGET_NAMES,
    HttpAttributes,
    Peer,
    RawTarget,
)
from avatar_telemetry.config.settings import Semconv
from avatar_telemetry.log import debug, debugging
from avatar_telemetry.memo import Memo
from avatar_telemetry.otel_private import span_key
from avatar_telemetry.profile import Kind, Profile, Route
from avatar_telemetry.store.labels import OTHER
from avatar_telemetry.tracing.blocks import EMPTY, Block
from avatar_telemetry.tracing.encoder import pack_times
from avatar_telemetry.tracing.span import UNSET, RootSpan
from avatar_telemetry.tracing.writer import ITEM_HEADS, SPANS, SpanWriter, pack_section
from avatar_telemetry.wsgi.endings import (
    PERSONAL_NAMES,
    QUERIES_NAMES,
    Ending,
    make_ending,
)
from avatar_telemetry.wsgi.head import is_length
from avatar_telemetry.wsgi.names import error_type, has_operation, server_name
from avatar_telemetry.wsgi.outcome import Conclusion, undetermined

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from avatar_telemetry.tracing.incoming import Incoming
    from avatar_telemetry.tracing.provider import LightTracer
    from avatar_telemetry.tracing.span import LightSpan, RecordedSpan, SpanSink, UnsampledSpan
    from avatar_telemetry.wsgi.request import AvatarRequest
    from avatar_telemetry.wsgi.upload import Upload

MAX_REMEMBERED = 1024
"""Blocks in each half of a memo."""
MAX_REMEMBERED_LENGTH = 128
"""Characters of a path whose personal part is kept; an avatar's has 72."""
MAX_AGENT_LENGTH = 256
"""Characters of a user agent that is kept."""
VIEW_NAMES = ("http.route", "ivatar.view")
WITHOUT_BODY = frozenset(("204", "304"))
"""Their Content-Length is that of another response (RFC 9110, section 8.6)."""

Begun = tuple[Block, Block, Block, Block]
"""The blocks of target, user agent, addresses, and of what the path says of a person."""
Recorded = tuple[RootSpan, "RecordedSpan | None", Begun]
"""The server span, the span inside, if this kind of request has one, and what is known of both from
the start."""
Started = tuple["RootSpan | UnsampledSpan", Context, "Recorded | None"]
"""The server span, the context while the application's code runs, and the spans if they are
recorded."""


class RequestTracing:
    """Begins the spans of requests.

    Args:
        tracer: makes them.
        incoming: reads what callers send.
        http: builds the HTTP attributes.
        privacy: what of a client may be told.
        profile: what is known about the application.
        excluded: requests without spans.
        request_headers: those that are put on the span.
        response_headers: likewise.
        sink: takes the spans when the request ends.
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
        # The application has configured its logging by now; asked for every request it would cost
        # as much as the sampler.
        self._tells = debugging()
        self._sink = sink
        self._span_key = span_key()
        self._writer: SpanWriter | None = None
        """Takes spans that are joined from blocks."""
        if isinstance(sink, SpanWriter) and not tracer.narrow and not self._captures_response:
            self._writer = sink
            self._scope = sink.scope(tracer.origin)
        self._make_memos(http.mode)

    def _make_memos(self, mode: Semconv) -> None:
        http = self.http
        self.targets: Memo[RawTarget, Block] = Memo(
            lambda key: Block(TARGET_NAMES[mode], http.target(key)), MAX_REMEMBERED, http.keeps
        )
        self.agents: Memo[str, Block] = Memo(
            lambda key: Block(AGENT_NAMES[mode], http.agent(key)),
            MAX_REMEMBERED, lambda key: len(key) <= MAX_AGENT_LENGTH,
        )  # fmt: skip
        self.addresses: Memo[Peer, Block] = Memo(
            lambda key: Block(ADDRESS_NAMES[mode], http.address(key)), MAX_REMEMBERED
        )
        self.people: Memo[str, Block] = Memo(
            self._find_personal, MAX_REMEMBERED, lambda path: len(path) <= MAX_REMEMBERED_LENGTH
        )
        self.endings: Memo[Conclusion | tuple[Conclusion, bool], Ending] = Memo(
            self._make_ending, MAX_REMEMBERED
        )
        self._names: Memo[tuple[str, Kind, str], tuple[str, str]] = Memo(
            lambda key: (server_name(key[0], key[2]), key[1] * has_operation(key[1], key[0])),
            MAX_REMEMBERED,
        )
        self._sent: Memo[int, Block] = Memo(
            lambda size: Block(SIZE_NAMES[mode], http.size(size)), MAX_REMEMBERED
        )
        self.sizes: Memo[str, Block | None] = Memo(
            lambda length: (
                Block(SIZE_NAMES[mode], http.size(int(length))) if is_length(length) else None
            ),
            MAX_REMEMBERED,
        )
        self.queries: Memo[int, Block] = Memo(
            lambda number: Block(QUERIES_NAMES, (number or None,)), MAX_REMEMBERED
        )
        self.views: Memo[tuple[str | None, str], Block] = Memo(
            lambda view: Block(VIEW_NAMES, view), MAX_REMEMBERED
        )

    def begin(self, environ: WSGIEnvironment, route: Route, method: str) -> Started | None:
        """Start the spans of a request.

        Args:
            environ: the WSGI environment.
            route: what the profile says of its path.
            method: as a label.

        Returns:
            ``None`` where the URL is excluded.
        """
        if self._excludes and self._excluded.contains(environ):
            return None
        parent, link, context = self._incoming.caller(environ)
        name, inner = self._names[method, route.kind, route.template]
        server, operation = self.tracer.start_request(name, inner, time_ns(), parent, context)
        if self._tells:
            _tell(name, server)
        if type(server) is not RootSpan:  # isinstance() of an abstract class is slow
            return server, self._context(server, context), None
        if link is not None:
            server.add_link(link)
        if self._captures_request:
            server.set_attributes(self._request_headers.of_request(environ))
        try:
            begun = self._read(environ, route)
        except (AttributeError, TypeError):  # a value that is no text; the spans have begun
            begun = self._read(as_text(environ), route)
        return server, self._context(operation or server, context), (server, operation, begun)

    def end(self, request: AvatarRequest, recorded: Recorded, duration: float) -> None:
        """End the spans of a request, and write all of them.

        Args:
            request: the request that ended; it knows what became of it.
            recorded: its spans.
            duration: seconds since its start.
        """
        server, operation, _ = recorded
        end_time = server._start_time + int(duration * 1e9)
        conclusion = request.conclusion or undetermined(request)
        writer = self._writer
        if (
            writer is not None
            and server.unchanged
            and (operation is None or operation.unchanged)
            and server._parent_span is None
            and request.error is None
            and request.upload is None
            and conclusion.method != OTHER
            and not self.tracer.watched
        ):
            items, encoded = self._join(request, conclusion, recorded, end_time)
            others = server.take(writer)
            if others:
                writer.write(others, (server.origin, items, encoded))
            else:
                scope = self._scope
                payload = pack_section(len(scope), len(encoded)) + scope + encoded
                writer.put(SPANS, items, payload)
            return
        try:
            self._end_each(request, conclusion, recorded, end_time)
        finally:
            spans = server.take(self._sink)
            if spans:
                self._sink.write(spans)

    def _join(
        self, request: AvatarRequest, conclusion: Conclusion, recorded: Recorded, end_time: int
    ) -> tuple[int, bytes]:
        """Return how many spans a request has, of which nobody has changed one, and their bytes."""
        server, operation, (target, agent, address, person) = recorded
        success = request.success
        ending = self.endings[conclusion if success is None else (conclusion, success)]
        trace_id, server_id = server._trace_id, server._span_id
        times = pack_times(0x39, server._start_time, 0x41, end_time)
        own, inner = ending.server, ending.operation
        view, queries = request.view, request.db_queries
        server_part = b"".join((
            b"\x12\x08", server_id, own.head, times, own.block.data, target.data, agent.data,
            address.data, view.data if view is not None else b"", person.data,
            self._size(request).data, self.queries[queries].data if queries else b"", own.tail,
        ))  # fmt: skip
        # What the head has of the span, key and value of the trace id, are 18 bytes.
        head = ITEM_HEADS[len(server_part) + 18]
        if operation is None or inner is None:
            return 1, head + trace_id + server_part
        operation_part = b"".join((
            b"\x12\x08", operation._span_id, b"\x22\x08", server_id, inner.head, times,
            inner.block.data, person.data, inner.tail,
        ))  # fmt: skip
        inner_head = ITEM_HEADS[len(operation_part) + 18]
        parts = (inner_head, trace_id, operation_part, head, trace_id, server_part)
        return 2, b"".join(parts)

    def _end_each(
        self, request: AvatarRequest, conclusion: Conclusion, recorded: Recorded, end_time: int
    ) -> None:
        """End the spans one by one, as objects."""
        server, operation, (target, agent, address, person) = recorded
        ending = make_ending(self.http, conclusion, request.success, self._error_type(request))
        own, inner = ending.server, ending.operation
        if operation is not None and inner is not None:
            operation._name = inner.name
            if inner.status is not UNSET:
                operation.set_status(inner.status)
            file = Block(FILE_NAMES, self.file(request.upload))
            operation.end_known((inner.block, person, file), end_time)
        server._name = own.name
        if conclusion.method == OTHER and self.http.all_methods:
            server._name = server_name(str(target.values[0]), request.route.template)
        if self._captures_response:
            server.set_attributes(self._response_headers.of(request.response_headers))
        if request.error is not None:
            server.record_exception(request.error)
        if own.status is not UNSET:
            server.set_status(own.status)
        blocks = (
            own.block, target, agent, address, request.view or EMPTY, person, self._size(request),
            self.queries[request.db_queries],
        )  # fmt: skip
        server.end_known(blocks, end_time)

    def _make_ending(self, key: Conclusion | tuple[Conclusion, bool]) -> Ending:
        conclusion, success = (key, None) if isinstance(key, Conclusion) else key
        return make_ending(self.http, conclusion, success, error_type(conclusion.status))

    def _error_type(self, request: AvatarRequest) -> str | None:
        """As :func:`error_type`, or the type of the exception that made the response a failure. One
        that the application has met and answered otherwise is an event, not a failure."""
        error = error_type(request.status)
        if error is None or request.error is None:
            return error
        return self.privacy.exception(request.error)[0]

    def _size(self, request: AvatarRequest) -> Block:
        """The bytes of the body of the response: as announced, or as they were sent."""
        if request.method == "HEAD":
            return EMPTY
        length = request.length
        if length and request.status not in WITHOUT_BODY:
            announced = self.sizes[length]
            if announced is not None:
                return announced
        return self._sent[request.sent]

    def _context(self, span: LightSpan, context: Context) -> Context:
        if context:
            return set_span_in_context(span, context)
        return Context({self._span_key: span})

    def _read(self, environ: WSGIEnvironment, route: Route) -> Begun:
        target, agent, addresses = self.http.read(environ, route.template)
        person = self.people[environ.get("PATH_INFO", "")] if route.reveals else EMPTY
        return self.targets[target], self.agents[agent], self.addresses[addresses], person

    def view(self, begun: Begun, template: str | None, view: str) -> Block:
        """Return the attributes of what the application's own router found.

        Args:
            begun: what is known from the start.
            template: the template of the route, unless the profile knows one.
            view: the name of the view.
        """
        return self.views[None if begun[0].values[-1] is not None else template, view]

    def file(self, upload: Upload | None) -> tuple[str | None, int | None, str | None]:
        """Values of the file attributes, of the first file of an upload."""
        files = upload.files() if upload is not None else None
        if not upload or not files:
            return None, None, None
        first = files[0]
        return self.privacy.file_name(decoded(upload.first_name)), first.size, first.content_type

    def _find_personal(self, path: str) -> Block:
        found = self._profile.personal(self._profile.route(path), path)
        if found is None:
            return EMPTY
        what, text = found
        told = self.privacy.digest(text)
        return Block(PERSONAL_NAMES, (told, None) if what == "digest" else (None, told))


def _tell(name: str, server: LightSpan) -> None:
    identity = server.get_span_context()
    word = "sampled" if identity.trace_flags.sampled else "not sampled"
    debug("%s: trace %032x is %s", name, identity.trace_id, word)
