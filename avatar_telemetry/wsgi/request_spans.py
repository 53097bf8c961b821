"""The spans of one request: a server span, and in it the span of what the request is for.

spans = tracing.begin(environ, route)
context_api.attach(spans.context)      # while the application's code runs
spans.end(outcome, end_time)           # names and attributes are told at the end, all at once
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from time import time_ns
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

from avatar_telemetry.client.environ import as_text
from avatar_telemetry.client.excluded import ExcludedUrls
from avatar_telemetry.client.headers import HeaderCapture
from avatar_telemetry.client.privacy import Privacy, decoded
from avatar_telemetry.client.semconv import FILE_NAMES, OTHER_METHOD, HttpAttributes, Values
from avatar_telemetry.log import debug, debugging
from avatar_telemetry.profile import Profile, Route
from avatar_telemetry.store.labels import OTHER, STATUSES, image_format
from avatar_telemetry.tracing.writer import SpanGroup

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from avatar_telemetry.tracing.incoming import Caller, Incoming
    from avatar_telemetry.tracing.provider import LightTracer
    from avatar_telemetry.tracing.span import LightSpan, RecordedSpan
    from avatar_telemetry.tracing.writer import SpanSink
    from avatar_telemetry.wsgi.request import AvatarRequest
    from avatar_telemetry.wsgi.upload import Upload

Personal = tuple["str | None", "str | None"]
"""Attribute values of a digest and of an e-mail address."""
ERROR = Status(StatusCode.ERROR)
MAX_REMEMBERED = 1024
"""Paths whose personal part is kept as it is told."""
MAX_REMEMBERED_LENGTH = 128
"""Characters of such a path; an avatar's has 72."""
SERVER_NAMES = (
    "ivatar.request_type", "ivatar.avatar_size", "ivatar.avatar_format", "ivatar.avatar_digest",
    "ivatar.avatar_email", "ivatar.db.queries",
)  # fmt: skip
OPERATION_NAMES = (
    "ivatar.request_type", "ivatar.avatar_size", "ivatar.avatar_format", "ivatar.avatar_digest",
    "ivatar.avatar_email", "ivatar.avatar_cache", "ivatar.avatar_source",
    "ivatar.avatar_generator", "ivatar.operation", "ivatar.success", *FILE_NAMES, "error.type",
)  # fmt: skip
"""Attributes of the operation span; what does not concern it is absent."""


class RequestSpans:
    """The spans of a request that is under way.

    Args:
        tracing: what it was begun with.
        group: the spans of the request that have ended.
        server: its server span.
        operation: the span inside, if this kind of request has one.
        context: that is current while the application's code runs.
        begun: the request's HTTP attributes.
        personal: what the path says of a person.
    """

    __slots__ = ("_begun", "_group", "_operation", "_personal", "_tracing", "context", "server")

    def __init__(
        self,
        tracing: RequestTracing,
        group: SpanGroup,
        server: RecordedSpan,
        operation: RecordedSpan | None,
        context: Context,
        begun: Values,
        personal: Personal,
    ) -> None:
        self._tracing = tracing
        self._group = group
        self._operation = operation
        self._begun = begun
        self._personal = personal
        self.server = server
        self.context = context

    def end(self, request: AvatarRequest, duration: float) -> None:
        """End the spans, and write all of the request.

        Args:
            request: that has ended; it knows what became of it.
            duration: seconds since its start.
        """
        try:
            self._end(request, duration)
        finally:
            self._group.close()

    def _end(self, request: AvatarRequest, duration: float) -> None:
        server = self.server
        end_time = server._start_time + int(duration * 1e9)
        error_type = self._error_type(request)
        conclusion = request.conclusion
        size, picture = (conclusion.size, conclusion.picture) if conclusion else (None, "")
        avatar = (size, picture or None, *self._personal)
        if self._operation is not None:
            self._end_operation(self._operation, request, avatar, error_type, end_time)
        tracing, route = self._tracing, request.route
        method = request.method
        if method == OTHER and tracing.http.all_methods:
            method = tracing.http.method_of(self._begun)
        server._name = server_name(method, route.template)
        if tracing.captures_response:
            server.set_attributes(tracing.response_headers.of(request.response_headers))
        if request.error is not None:
            server.record_exception(request.error)
        if error_type is not None:
            server.set_status(ERROR)
        server.end_known(
            tracing.server_names,
            (
                *tracing.http.values(
                    self._begun, status_code(request.status), response_size(request), error_type
                ),
                route.kind, *avatar, request.db_queries or None,
            ),
            end_time,
        )  # fmt: skip

    def _end_operation(
        self,
        operation: RecordedSpan,
        request: AvatarRequest,
        avatar: tuple[Any, ...],
        error_type: str | None,
        end_time: int,
    ) -> None:
        route = request.route
        operation._name = operation_name(request)
        if error_type is not None:
            operation.set_status(ERROR)
        operation.end_known(
            OPERATION_NAMES,
            (
                route.kind, *avatar, request.cache or None, request.source or None,
                request.generator or None,
                route.operation or None, request.success, *self._tracing.file(request.upload),
                error_type,
            ),
            end_time,
        )  # fmt: skip

    def _error_type(self, request: AvatarRequest) -> str | None:
        """``error.type`` (semantic conventions, HTTP spans, "Status"): of a 5xx the exception's
        type or the status, and ``_OTHER`` of a status that cannot be interpreted, which is an
        error, too. An exception that the application has met and answered otherwise is an event,
        not a failure.

        https://opentelemetry.io/docs/specs/semconv/http/http-spans/#status
        """
        status = request.status
        if status in _NO_ERROR:
            return None
        if request.error is not None:
            return self._tracing.privacy.exception(request.error)[0]
        return status if status in _CODES else UNKNOWN_ERROR


class Unrecorded(NamedTuple):
    """A request whose trace is not sampled.

    Args:
        server: hands the trace's identity on.
        context: that is current while the application's code runs.
    """

    server: LightSpan
    context: Context


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
        self.response_headers = response_headers
        self.server_names = (*http.names, *SERVER_NAMES)
        self._incoming = incoming
        self._profile = profile
        self._excluded = excluded
        self._request_headers = request_headers
        self.captures_response = bool(response_headers)
        self._captures_request = bool(request_headers)
        self._excludes = bool(excluded)
        # The application has configured its logging by now; asked for every request it would cost
        # as much as the sampler.
        self._tells = debugging()
        self._sink = sink
        self._personal_of: dict[str, Personal] = {}

    def begin(
        self, environ: WSGIEnvironment, route: Route, method: str
    ) -> RequestSpans | Unrecorded | None:
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
        caller = self._incoming.caller(environ)
        now = time_ns()
        name = server_name(method, route.template)
        group = SpanGroup(self._sink)
        server = self.tracer.start_root(
            name, SpanKind.SERVER, now, caller.parent, caller.context, group
        )
        if self._tells:
            _tell(name, server)
        if not server.is_recording():
            return Unrecorded(server, set_span_in_context(server, caller.context))
        recorded: RecordedSpan = server  # type: ignore[assignment]
        return self._begin_recorded(recorded, group, environ, route, method, now, caller)

    def _begin_recorded(
        self,
        server: RecordedSpan,
        group: SpanGroup,
        environ: WSGIEnvironment,
        route: Route,
        method: str,
        now: int,
        caller: Caller,
    ) -> RequestSpans:
        if caller.link is not None:
            server.add_link(caller.link)
        if self._captures_request:
            server.set_attributes(self._request_headers.of_request(environ))
        kind = route.kind
        operation = None
        if kind in _WITH_OPERATION and (kind != "avatar" or method in _ASKS_FOR_AVATAR):
            operation = self.tracer.start_child(kind, server, now, caller.context)
        try:
            begun, personal = self._read(environ, route)
        except (AttributeError, TypeError):  # a value that is no text; the spans have begun
            begun, personal = self._read(as_text(environ), route)
        context = set_span_in_context(operation or server, caller.context)
        return RequestSpans(self, group, server, operation, context, begun, personal)

    def _read(self, environ: WSGIEnvironment, route: Route) -> tuple[Values, Personal]:
        personal: Personal = (None, None)
        if route.reveals:
            personal = self._personal(route, environ.get("PATH_INFO", ""))
        return self.http.start(environ, route.template), personal

    def file(self, upload: Upload | None) -> tuple[str | None, int | None, str | None]:
        """Values of the file attributes, of the first file of an upload."""
        files = upload.files() if upload is not None else None
        if not upload or not files:
            return None, None, None
        first = files[0]
        return self.privacy.file_name(decoded(upload.first_name)), first.size, first.content_type

    def _personal(self, route: Route, path: str) -> Personal:
        if len(path) > MAX_REMEMBERED_LENGTH:
            return self._find_personal(route, path)
        found = self._personal_of.get(path)
        if found is None:
            # The pictures of a page are of a few people, and some are asked for all day.
            if len(self._personal_of) >= MAX_REMEMBERED:
                self._personal_of.clear()
            found = self._personal_of[path] = self._find_personal(route, path)
        return found

    def _find_personal(self, route: Route, path: str) -> Personal:
        found = self._profile.personal(route, path)
        if found is None:
            return None, None
        what, text = found
        told = self.privacy.digest(text)
        return (told, None) if what == "digest" else (None, told)


def _tell(name: str, server: LightSpan) -> None:
    identity = server.get_span_context()
    word = "sampled" if identity.trace_flags.sampled else "not sampled"
    debug("%s: trace %032x is %s", name, identity.trace_id, word)


@lru_cache(maxsize=4096)
def server_name(method: str, template: str) -> str:
    """The name of a server span: method and route (semantic conventions, HTTP spans)."""
    known = "HTTP" if method in (OTHER, OTHER_METHOD) else method
    return f"{known} {template}" if template[:1] == "/" else known


def operation_name(request: AvatarRequest) -> str:
    """What a request was for, as far as it is known."""
    route = request.route
    if route.kind == "upload":
        return "file_upload.form" if _only_shows(request) else "file_upload.process"
    if route.kind in ("auth", "import"):
        operation = "form" if _only_shows(request) else route.operation
        return f"{route.kind}.{operation}"
    if route.kind != "avatar" or request.method not in _ASKS_FOR_AVATAR:
        return server_name(request.method, route.template)
    if route.service:
        return f"avatar.{route.service}_proxy"
    if request.cache == "hit":
        return "avatar.cache_hit"
    status = request.status
    if status == "200":
        if not request.finished:
            return "avatar.serve"  # for an access log that does not wait for the end of a file
        if request.source:
            return f"avatar.generate_{request.conclusion.picture}"  # type: ignore[union-attr]
        served = image_format(request.content_type)
        return f"avatar.serve_{served}" if served else "avatar.refuse"
    return _UNSERVED.get(status) or ("avatar.redirect" if status[:1] == "3" else "avatar.refuse")


def _only_shows(request: AvatarRequest) -> bool:
    """Whether a request asked for a form and tried nothing. A POST tries, though its route may
    count it elsewhere (a log-in with OpenID, where the user comes back)."""
    return request.success is None and request.method != "POST"


def status_code(status: str) -> int | None:
    """The status as a number, ``None`` where it is none."""
    return _CODES.get(status)


def response_size(request: AvatarRequest) -> int | None:
    """Bytes of the answer's body: as announced, or as they were sent."""
    if request.method == "HEAD":
        return None
    if request.announced is None or request.status in _WITHOUT_BODY:
        return request.sent
    return request.announced


_WITH_OPERATION = frozenset(("avatar", "upload", "import", "auth"))
"""Kinds of routes whose requests have an operation span."""
_ASKS_FOR_AVATAR = frozenset(("GET", "HEAD"))
_WITHOUT_BODY = frozenset(("204", "304"))
"""Their Content-Length is that of another answer (RFC 9110, section 8.6)."""
_CODES = {status: int(status) for status in STATUSES if status != OTHER}
_NO_ERROR = frozenset(("", *(status for status in _CODES if status[0] != "5")))
"""Statuses that are no failure of the server; empty where none was sent."""
UNKNOWN_ERROR = "_OTHER"
"""``error.type`` where there is no name for the error."""
_UNSERVED: Mapping[str, str] = {"304": "avatar.not_modified", "404": "avatar.not_found"}
