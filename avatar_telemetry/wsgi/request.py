"""The request in progress.

It collects the reports of the middleware, the body, the upload observer and the probes, and records
the result when it ends. :func:`current_request` returns it while code of the application runs.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar, Token
from functools import lru_cache
from time import perf_counter, time_ns
from typing import TYPE_CHECKING, Any, Literal

from opentelemetry.context import Context
from opentelemetry.trace import get_current_span
from opentelemetry.util.types import AttributeValue

from avatar_telemetry._base.otel_private import context_variable
from avatar_telemetry.http import labels
from avatar_telemetry.http.environ import as_text, text
from avatar_telemetry.http.labels import KNOWN_METHODS
from avatar_telemetry.http.privacy import decoded
from avatar_telemetry.http.scrub import Sent, words_of
from avatar_telemetry.metrics.instruments import (
    DB_DURATION,
    DB_QUERIES,
    EXTERNAL_DURATION,
    EXTERNAL_REQUESTS,
    OUTSIDE_DURATION,
    OUTSIDE_REQUESTS,
)
from avatar_telemetry.profiles.model import Route
from avatar_telemetry.wsgi.head import is_length, observe_head
from avatar_telemetry.wsgi.names import name_of, operation_name
from avatar_telemetry.wsgi.outcome import Outcome, success_of
from avatar_telemetry.wsgi.upload import Upload, observe_upload

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from avatar_telemetry._base.guard import Guard
    from avatar_telemetry.metrics.instruments import Instrument
    from avatar_telemetry.metrics.metrics import Measurement, Trace
    from avatar_telemetry.tracing.provider import LightTracer
    from avatar_telemetry.wsgi.request_spans import Recorded, RequestTracing, View
    from avatar_telemetry.wsgi.telemetry import Telemetry

Write = Callable[[bytes], object]

CURRENT: ContextVar[AvatarRequest | None] = ContextVar("avatar_telemetry.request", default=None)
"""The request in progress, set only while application code runs, and reset in the same call."""

CONTEXT = context_variable()
"""OpenTelemetry's current context, set and reset with the request if its spans are recorded."""

ENVIRON_KEY = "avatar_telemetry.request"
"""Key of the request in its environ; its text is the name of its operation, for access logs."""
TRACE_ID_KEY = "avatar_telemetry.trace_id"
"""Key of the trace id in the environ, 32 hexadecimal digits, for access logs."""
MAX_MEASUREMENTS = 32
"""The last measurements of a request that may have exemplars."""
SERVER_ERROR = "500"
NO_STEPS: frozenset[str] = frozenset()
CHUNKED = "HTTP_TRANSFER_ENCODING"
NOTHING_SENT = (None, None)

StackEvent = tuple[str, Mapping[str, AttributeValue], int]
"""Name, attributes and time of an event with a stack, in nanoseconds since the epoch."""

Entered = tuple[Token["AvatarRequest | None"], "Token[Context] | None"]


_words_of_template = lru_cache(maxsize=1024)(words_of)


@lru_cache(maxsize=1024)
def _route_of(template: str) -> Route:
    return Route("", template)


def sent_by_client() -> Sent | None:
    """Return the client data of the request in progress, if there is one."""
    request = CURRENT.get()
    if request is None:
        return None
    path, template = decoded(request.path), request.route.template
    cookies, body = request.sent_by_client
    cookie = text(cookies) if cookies else ""
    words = words_of(path, decoded(request.query), decoded(cookie))
    routes = request.telemetry.profile.routes
    ours = _words_of_template(template).union(*(_words_of_template(r.template) for r in routes))
    words = frozenset(word for word in words if word.lower() not in ours)
    return Sent(path, template, words, body not in (None, "", "0"))


def current_request() -> AvatarRequest | None:
    """Return the request that the calling code works for, or ``None`` outside of one."""
    return CURRENT.get()


class AvatarRequest:
    """One request, from its start to its end.

    Args:
        telemetry: the components that record it.
        environ: the WSGI environment.
        route: the route of its path.
        start_response: the function of the server.
    """

    # An instance without slots has inline space for 29 attributes, and all are slower with more.
    # Defaults of the class are slow to read.
    __slots__ = (
        "_alone", "_send_error", "_server_start_response", "_server_write", "_stacks", "cache",
        "content_type", "context", "db_queries", "error", "finished", "first_byte", "generator",
        "image_steps", "image_steps_seen", "length", "location", "measurements", "method",
        "outcome", "outside_calls", "outside_documents", "path", "query", "recorded",
        "reported_file", "reported_source", "reported_success", "response_headers", "route", "sent",
        "sent_by_client", "services_seen", "started", "status", "success", "telemetry", "unsent",
        "upload", "view",
    )  # fmt: skip

    def __init__(
        self,
        telemetry: Telemetry,
        environ: WSGIEnvironment,
        route: Route,
        start_response: StartResponse,
    ) -> None:
        self.telemetry = telemetry
        self._server_start_response = start_response
        try:  # costs half of get()
            method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
            query, threaded = environ["QUERY_STRING"], environ["wsgi.multithread"]
        except KeyError:
            method, path, query = map(environ.get, ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING"))
            threaded = environ.get("wsgi.multithread", True)
        if not (type(method) is type(path) is type(query) is str):
            method, path, query = text(method), text(path), text(query)
        try:
            self.method = KNOWN_METHODS[method]
        except KeyError:
            self.method = labels.OTHER
        self.path: str = path
        self.query: str = query
        self._alone = not threaded
        self.sent_by_client: tuple[object, object] = NOTHING_SENT
        if "HTTP_COOKIE" in environ or "CONTENT_LENGTH" in environ or CHUNKED in environ:
            body = environ.get("CONTENT_LENGTH") or environ.get(CHUNKED)
            self.sent_by_client = environ.get("HTTP_COOKIE"), body
        self.route = route
        self.status = self.content_type = self.location = self.length = ""
        self.cache: Literal["", "hit", "miss"] = ""
        self.generator = self.reported_source = ""
        self.outside_calls = self.outside_documents = self.db_queries = 0
        self.sent = self.image_steps = 0
        self.unsent: int | None = 0
        self.image_steps_seen: frozenset[str] = NO_STEPS
        self.first_byte = 0.0
        self.finished = False
        self.error: BaseException | None = None
        self.outcome: Outcome | None = None
        self.success: bool | None = None
        self.reported_success: bool | None = None
        self.reported_file: tuple[str, int] | None = None
        self.services_seen: Counter[str] | None = None
        self.measurements: deque[Measurement] | tuple[()] = ()
        self.upload: Upload | None = None
        self.view: View | None = None
        self.response_headers: Iterable[tuple[str, str]] = ()
        self._server_write: Write | None = None
        self._send_error: BaseException | None = None
        self.context: Context | None = None
        self.recorded: Recorded | None = None
        if telemetry.tracing is not None:
            self._begin_spans(telemetry.tracing, environ)
        self.started = perf_counter()
        telemetry.metrics.started(self.started, self._alone)

    def __str__(self) -> str:
        if self.outcome is not None:
            return name_of(self.outcome, self.success)
        # For an access log that is written before the end of a file.
        status, cache, success = self.status, self.cache, self.success
        return operation_name(self.route, self.method, status, cache, success, "avatar.serve")

    @property
    def tracer(self) -> LightTracer | None:
        """The tracer for spans inside of this request, if they are recorded."""
        tracing = self.telemetry.tracing
        return tracing.tracer if self.recorded is not None and tracing is not None else None

    @property
    def announced(self) -> int | None:
        """The length of the body according to the ``Content-Length`` of the response."""
        return int(self.length) if is_length(self.length) else None

    @property
    def source(self) -> str:
        """The source of the generated picture, after the end of the request."""
        return self.outcome.source if self.outcome is not None else ""

    def enter(self) -> Entered:
        """Make this request and its span current for code of the application."""
        context = self.context
        return CURRENT.set(self), None if context is None else CONTEXT.set(context)

    def leave(self, entered: Entered) -> None:
        """Restore the previous request and span; call it in the same function as :meth:`enter`."""
        token, attached = entered
        if attached is not None:
            CONTEXT.reset(attached)
        CURRENT.reset(token)

    def start_response(
        self,
        status: str,
        response_headers: list[tuple[str, str]],
        exc_info: Any = None,
    ) -> Write:
        """Record the head of a response, and pass it to the server (PEP 3333)."""
        if exc_info:
            write = self._server_start_response(status, response_headers, exc_info)
        else:
            write = self._server_start_response(status, response_headers)
        try:
            # A later head, such as that of an error page, replaces an earlier one.
            self.status, self.content_type, self.location, self.length = observe_head(
                status, response_headers
            )
            self.response_headers = response_headers
            self.unsent = None
        except Exception:  # noqa: BLE001 - an application may pass values of any type
            self.telemetry.guard.failed("start_response")
        self._server_write = write
        return self.write

    def write(self, data: bytes) -> None:
        """Send data to the client at once: the ``write`` of PEP 3333."""
        self.sending(data)
        try:
            self._server_write(data)  # type: ignore[misc]
        except BaseException as error:
            self._send_error = error
            raise

    def note_first_byte(self) -> None:
        """Record the time of the first data of the response."""
        if not self.first_byte:
            self.first_byte = perf_counter()

    def sending(self, data: bytes) -> None:
        """Record data that is about to go to the client.

        The request is finished before the last byte of its ``Content-Length`` is sent, so that a
        worker cannot die between a complete response and its count.

        Args:
            data: the value of the application; the server refuses other types than bytes.
        """
        try:
            size = len(data)
        except Exception:  # noqa: BLE001 - an object of the application
            return
        if not size:
            return
        self.sent += size
        if self.unsent is None:
            self.unsent = 0 if self.method == "HEAD" else self.announced or 0
        if self.unsent:
            self.unsent -= size
            if self.unsent <= 0:
                self.finish()
                return
        if not self.first_byte:
            self.first_byte = perf_counter()

    def sending_all(self, chunks: Iterable[bytes]) -> None:
        """Record all data of a complete response, and finish the request.

        Args:
            chunks: at most one; see :meth:`sending`.
        """
        for data in chunks:
            try:
                self.sent += len(data)
            except Exception:  # noqa: BLE001 - an object of the application
                break
        self.finish()

    def cache_lookup(self, cache: str, *, hit: bool) -> None:
        """Record a lookup in a cache. The first one in the avatar cache decides hit or miss.

        Args:
            cache: the name of the cache in the profile.
            hit: whether the entry was found.
        """
        if self.route.cached and not self.cache and cache in self.telemetry.profile.avatar_cache:
            self.cache = "hit" if hit else "miss"

    def generated(self, generator: str) -> None:
        """Record the generator that drew a picture. The first one is kept.

        Args:
            generator: the name of the generator in the profile.
        """
        if not self.generator:
            self.generator = generator

    def outside_call(self, host: str, seconds: float, *, success: bool, found: bool = True) -> None:
        """Count a call of an outside service, at once.

        Args:
            host: the host that was called.
            seconds: the seconds until the response or the failure.
            success: whether the service did its work.
            found: whether a successful response contains the requested document; "not found" is a
                success without one.
        """
        self.outside_calls += 1
        self.outside_documents += success and found
        service = self.service(host)
        if self.services_seen is None:
            self.services_seen = Counter()
        self.services_seen[service] += 1
        if self.route.kind == "avatar":
            calls, duration = EXTERNAL_REQUESTS, EXTERNAL_DURATION
        else:
            calls, duration = OUTSIDE_REQUESTS, OUTSIDE_DURATION
        self.count(calls, service, "true" if success else "false")
        self.observe(duration, seconds, service)

    def count(self, instrument: Instrument, *labels: str) -> None:
        """Add one to a counter, at once. The exemplar of a failure is this request, if its trace is
        written."""
        self.telemetry.metrics.count(instrument, *labels)
        if instrument.labels[-1] == "success" and labels[-1] == "false":
            self._remember(instrument, 1.0, labels)

    def observe(self, instrument: Instrument, value: float, *labels: str) -> None:
        """Add a value to a histogram, at once. The exemplar of its bucket is this request, if its
        trace is written."""
        self.telemetry.metrics.observe(instrument, value, *labels)
        self._remember(instrument, value, labels)

    def _remember(self, instrument: Instrument, value: float, labels: tuple[str, ...]) -> None:
        if self.context is not None:
            if type(self.measurements) is not deque:
                self.measurements = deque(maxlen=MAX_MEASUREMENTS)
            self.measurements.append((instrument, value, labels))

    @property
    def guard(self) -> Guard:
        """The guard of the telemetry, for the probes."""
        return self.telemetry.guard

    def image_step(self, step: str) -> None:
        """Record that an image library opened, scaled or saved a picture, outside of a generator.

        Args:
            step: ``open``, ``resize``, ``thumbnail`` or ``save``.
        """
        self.image_steps += 1
        self.image_steps_seen |= {step}

    def resolved(self, template: str, view: str | None) -> None:
        """Record the route that the application's own router found. The first one is kept.

        Args:
            template: the template of its URL pattern, without client data.
            view: the name of the view, if it has one.
        """
        if self.view is not None:
            return
        profile = self.telemetry.profile
        route = None
        if profile.application_routes and self.route is profile.other:
            if self.route.template[:1] != "/":  # otherwise the span has it as its route already
                route = template
            self.route = _route_of(template)
        self.view = route, view

    def wanted_size(self) -> int | None:
        """Return the edge in pixels of the requested picture."""
        return self.telemetry.profile.size(self.query)

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """Add an attribute to the server span of this request, if it is recorded. Never raises.

        Args:
            key: the name of the attribute.
            value: a text, number or boolean, or a list of values of one of these types; exported
                unchanged.
        """
        if self.recorded is not None:
            with self.telemetry.guard.at("spans"):
                self.recorded[0]._root.set_attribute(key, value)

    @property
    def stacks(self) -> Sequence[StackEvent]:
        """The events with the stacks of this request that were taken while it ran."""
        stacks: Sequence[StackEvent] = getattr(self, "_stacks", ())  # unset in most requests
        return stacks

    def add_stack(self, event: str, attributes: Mapping[str, AttributeValue]) -> None:
        """Add an event with a stack to the server span, if it is recorded, when the request ends.

        Any thread may call this: it takes no lock, and an event that is too late is dropped.

        Args:
            event: the name of the event.
            attributes: its attributes.
        """
        self._stacks = (*self.stacks, (event, attributes, time_ns()))
        recorded = self.recorded
        if recorded is not None:
            recorded[0].joinable = False

    def report_source(self, source: str) -> bool:
        """Use the source of a picture that the application reports.

        Args:
            source: a value of the label.

        Returns:
            Whether this request counts the picture, or has counted it.
        """
        if self.reported_source or self.source:
            return True
        self.reported_source = source
        return not self.finished

    def report_lookup(self, found: Literal["hit", "miss"]) -> bool:
        """Use a lookup in the avatar cache that the application reports; see :meth:`report_source`.
        The first lookup counts."""
        if self.cache:
            return True
        self.cache = found
        return not self.finished

    def report_outside_call(self, service: str) -> bool:
        """Record that the application reports a call of an outside service.

        Args:
            service: a value of the label.

        Returns:
            Whether a probe has counted the call.
        """
        if self.services_seen and self.services_seen[service]:
            self.services_seen[service] -= 1
            return True
        self.outside_calls += 1
        return False

    def report_attempt(self, success: bool, file: tuple[str, int] | None) -> bool:
        """Use the result of an attempt that the application reports; see :meth:`report_source`.

        Args:
            success: whether the attempt succeeded.
            file: the Content-Type and the bytes of an uploaded file.
        """
        if self.reported_success is not None or self.success is not None:
            return True
        self.reported_success = success
        self.reported_file = file
        return not self.finished

    def observe_upload(self, environ: WSGIEnvironment) -> None:
        """Observe the data that the application reads of an upload.

        Args:
            environ: the WSGI environment.
        """
        guard = self.telemetry.guard
        try:
            self.upload = observe_upload(environ, lambda: guard.failed("upload"), self.route.fields)
        except Exception:  # noqa: BLE001 - the request is recorded without its files
            guard.failed("upload")

    def application_error(self, error: BaseException) -> None:
        """Record an exception that the application handles with an error page.

        Args:
            error: the exception; only the first one is recorded.
        """
        if self.error is None:
            self.error = error

    def service(self, host: str) -> str:
        """Return the label of the outside service that a host belongs to, or ``other``."""
        return labels.service(host, self.telemetry.profile.services)

    def known_host(self, host: str) -> str:
        """Return the profile's service host that a host is or is a subdomain of, or empty."""
        return labels.known_host(host, self.telemetry.profile.services)

    def db_query(self, system: str, operation: str, seconds: float) -> None:
        """Count an executed SQL statement, at once.

        Args:
            system: one of :data:`avatar_telemetry.http.sql.SYSTEMS`.
            operation: one of :data:`avatar_telemetry.http.sql.OPERATIONS`.
            seconds: the seconds until the driver returned or failed.
        """
        self.db_queries += 1
        self.telemetry.metrics.timed(DB_QUERIES, DB_DURATION, seconds, (system, operation))

    def failed(self, error: BaseException) -> None:
        """Finish the request with an exception that passes from the application to the server.

        An exception of the server's ``write`` is no failure of the application: the client
        disconnected.
        """
        if error is not self._send_error:
            self.status = SERVER_ERROR
            self.error = error
        self.finish()

    def switch(self) -> None:
        """Record that the application took the connection and switched its protocol."""
        self.status = labels.SWITCHED

    def switched(self) -> None:
        """Finish a request whose connection the application took."""
        self.switch()
        self.finish()

    def finish(self) -> None:
        """Finish the request, at exhaustion or close of its body. Only the first call counts."""
        if self.finished:
            return
        self.finished = True
        duration = perf_counter() - self.started
        first_byte = self.first_byte - self.started if self.first_byte else duration
        telemetry, plan, bucket = self.telemetry, None, 0
        try:
            self.outcome, plan = telemetry.outcomes.of(self)
            bucket = telemetry.metrics.finished(plan, duration, first_byte, self._alone)
        except Exception:  # noqa: BLE001 - nothing may break the response
            telemetry.guard.failed("finish")
            telemetry.metrics.abandoned()
            plan = None
        if self.route.succeeded is not None:
            try:
                self.success = success_of(self)
            except Exception:  # noqa: BLE001 - a rule of a user's profile may raise
                telemetry.guard.failed("succeeded")
        trace = None
        if self.recorded is not None and telemetry.tracing is not None:
            trace = self._end_spans(telemetry.tracing, self.recorded, duration)
        try:
            if trace is None and telemetry.exemplars == "always_on":
                trace = self._unwritten_trace()
            if trace is not None and plan is not None and telemetry.exemplars != "always_off":
                # A copy: a thread with the context of the request may add one meanwhile.
                measurements = tuple(self.measurements)
                telemetry.metrics.keep_trace(
                    trace, plan, bucket, duration, first_byte, measurements
                )
        except Exception:  # noqa: BLE001 - nothing may break the response
            telemetry.guard.failed("exemplars")
        self.error = None  # its traceback refers to frames that refer to this request

    def _begin_spans(self, tracing: RequestTracing, environ: WSGIEnvironment) -> None:
        try:
            try:
                started = tracing.begin(environ, self.route, self.method)
            except (AttributeError, TypeError):  # a value that is not a text; no span has begun
                started = tracing.begin(as_text(environ), self.route, self.method)
        except Exception:  # noqa: BLE001 - the request continues without spans
            self.telemetry.guard.failed("spans")
            return
        if started is not None:
            span, self.context, self.recorded = started
            environ[TRACE_ID_KEY] = span._trace_id.hex()

    def _end_spans(
        self, tracing: RequestTracing, recorded: Recorded, duration: float
    ) -> Trace | None:
        """End the spans; return the trace if they were written."""
        self.recorded = None
        # The data of the current request is removed from the message of an exception.
        token = None if self.error is None else CURRENT.set(self)
        try:
            return tracing.end(self, recorded, duration)
        except Exception:  # noqa: BLE001 - a span processor of the user may raise
            self.telemetry.guard.failed("spans")
            return None
        finally:
            if token is not None:
                CURRENT.reset(token)

    def _unwritten_trace(self) -> Trace | None:
        """Return the ids of a request whose spans were not written, if it has some.

        They may be in other services or in logs (OpenTelemetry Metrics SDK, "AlwaysOn").
        """
        if self.context is None:
            return None
        span = get_current_span(self.context)
        ids = span.get_span_context()
        if not ids.is_valid:
            return None
        # An operation span has the id of the server span.
        server_id = getattr(span, "_server_id", ids.span_id.to_bytes(8, "big"))
        return ids.trace_id.to_bytes(16, "big"), server_id, time_ns()
