"""The request in progress: what the middleware, the body, the upload observer and the probes tell,
and what follows from it when it ends.

It is found by :func:`current_request`, which answers only while code of the application runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

from avatar_telemetry import labels
from avatar_telemetry.metrics import (
    AUTH_ATTEMPTS,
    DB_DURATION,
    DB_QUERIES,
    EXTERNAL_DURATION,
    EXTERNAL_REQUESTS,
    UPLOAD_SIZE,
    UPLOADS,
)
from avatar_telemetry.profile import Route

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from avatar_telemetry.telemetry import Telemetry
    from avatar_telemetry.upload import UploadObserver

Write = Callable[[bytes], object]

CURRENT: ContextVar[AvatarRequest | None] = ContextVar("avatar_telemetry.request", default=None)
"""Set only while application code runs; whoever sets it resets it in the same call."""

ENVIRON_KEY = "avatar_telemetry.request"
SERVER_ERROR = "500"


def current_request() -> AvatarRequest | None:
    """The request that the calling code works for, or ``None`` outside of one."""
    return CURRENT.get()


class AvatarRequest:
    """One request from its start to its end, which comes once.

    Args:
        telemetry: what it is recorded with.
        environ: the WSGI environment, read here and not kept.
        route: what the profile says of its path.
        start_response: the server's.
    """

    __slots__ = (
        "_cache", "_content_type", "_generators", "_location", "_method", "_path", "_query",
        "_send_error", "_server_start_response", "_server_write", "_telemetry", "_unsent",
        "db_queries", "finished", "first_byte", "outside_calls", "route", "started", "status",
        "upload",
    )  # fmt: skip

    def __init__(
        self,
        telemetry: Telemetry,
        environ: WSGIEnvironment,
        route: Route,
        start_response: StartResponse,
    ) -> None:
        self._telemetry = telemetry
        self._server_start_response = start_response
        self._method: str = environ.get("REQUEST_METHOD", "")
        self._path: str = environ.get("PATH_INFO", "")
        self._query: str = environ.get("QUERY_STRING", "")
        self.route = route
        self.status = ""
        self._content_type = ""
        self._location = ""
        self._unsent = 0
        self._cache: Literal["", "hit", "miss"] = ""
        self._generators: tuple[str, ...] = ()
        self._send_error: BaseException | None = None
        self._server_write: Write | None = None
        self.db_queries = 0
        self.outside_calls = 0
        self.upload: UploadObserver | None = None
        self.finished = False
        self.first_byte = 0.0
        telemetry.metrics.started()
        self.started = perf_counter()

    def start_response(
        self,
        status: str,
        response_headers: list[tuple[str, str]],
        exc_info: Any = None,
    ) -> Write:
        """What the application calls (PEP 3333); the server's own does the work."""
        if exc_info:
            write = self._server_start_response(status, response_headers, exc_info)
        else:
            write = self._server_start_response(status, response_headers)
        try:
            self._observe_head(status, response_headers)
        except Exception:  # noqa: BLE001 - an application may send what it likes
            self._telemetry.guard.failed("start_response")
        self._server_write = write
        return self.write

    def write(self, data: bytes) -> None:
        """The write callable of PEP 3333: data goes to the client at once."""
        if data:
            self.sending(data)
        try:
            self._server_write(data)  # type: ignore[misc]
        except BaseException as error:
            self._send_error = error
            raise

    def note_first_byte(self) -> None:
        """The application has given its first data."""
        if not self.first_byte:
            self.first_byte = perf_counter()

    def sending(self, data: bytes) -> None:
        """Data of the application is about to go to the client.

        With the last byte that ``Content-Length`` announced, the client has its whole answer: the
        request ends before that, so that no worker can die between an answer and its count.

        Args:
            data: not empty.
        """
        if not self.first_byte:
            self.first_byte = perf_counter()
        if self._unsent:
            self._unsent -= len(data)
            if self._unsent <= 0:
                self.finish()

    def cache_lookup(self, cache: str, *, hit: bool) -> None:
        """A cache was asked. Only the first look-up of the avatar cache says hit or miss.

        Args:
            cache: the name by which the profile knows it.
            hit: whether it had an answer.
        """
        if self.route.cached and not self._cache and cache in self._telemetry.profile.avatar_cache:
            self._cache = "hit" if hit else "miss"

    def generated(self, generator: str) -> None:
        """A generator has drawn a picture.

        Args:
            generator: its name in the profile.
        """
        self._generators += (generator,)

    def outside_call(self, host: str, seconds: float, *, success: bool) -> None:
        """An outside service was called; counted at once.

        Args:
            host: as it was called.
            seconds: until it answered or failed.
            success: whether the service did its work.
        """
        self.outside_calls += 1
        service = self.service(host)
        metrics = self._telemetry.metrics
        metrics.count(EXTERNAL_REQUESTS, service, "true" if success else "false")
        metrics.observe(EXTERNAL_DURATION, seconds, service)

    def service(self, host: str) -> str:
        """The profile's word for the outside service that a host belongs to, or ``other``."""
        return labels.service(host, self._telemetry.profile.services)

    def known_host(self, host: str) -> str:
        """The host among the profile's services that a host is, or is a subdomain of; or empty."""
        return labels.known_host(host, self._telemetry.profile.services)

    def db_query(self, system: str, operation: str, seconds: float) -> None:
        """An SQL statement was run; counted at once.

        Args:
            system: postgresql, mysql, sqlite or other.
            operation: one of :data:`avatar_telemetry.sql.OPERATIONS`.
            seconds: until the driver returned or failed.
        """
        self.db_queries += 1
        self._telemetry.metrics.timed(DB_QUERIES, DB_DURATION, seconds, (system, operation))

    def failed(self, error: BaseException) -> None:
        """An exception passes from the application to the server: the request has ended.

        What the server's own ``write`` raised is not the application's failure: the client went.
        """
        if error is not self._send_error:
            self.status = SERVER_ERROR
        self.finish()

    def finish(self) -> None:
        """The request has ended. The first call counts, at exhaustion or close of the body."""
        if self.finished:
            return
        self.finished = True
        try:
            self._record(perf_counter())
        except Exception:  # noqa: BLE001 - the answer has been given; nothing may break it now
            self._telemetry.guard.failed("finish")

    def _observe_head(self, status: str, headers: Iterable[tuple[str, str]]) -> None:
        self.status = status[:3]
        self._content_type = self._location = ""
        self._unsent = 0
        for name, value in headers:
            lower = name.lower()
            if lower == "content-length":
                self._unsent = int(value) if self._method != "HEAD" and value.isdecimal() else 0
            elif lower == "content-type":
                self._content_type = value
            elif lower == "location":
                self._location = value

    def _record(self, now: float) -> None:
        route = self.route
        telemetry = self._telemetry
        method = labels.method(self._method)
        status = labels.status(self.status)
        size = picture = source = ""
        cache: str = ""
        if route.kind == "avatar":
            size, picture, cache, source = self._avatar_labels(status)
        first_byte = (self.first_byte or now) - self.started
        telemetry.metrics.finished(
            (method, status, route.template, size, picture, cache, source),
            now - self.started,
            first_byte,
        )
        if route.succeeded is not None:
            self._record_success(route)

    def _avatar_labels(self, status: str) -> tuple[str, str, str, str]:
        pixels = self._telemetry.profile.size(self._query)
        size = labels.size_label(pixels, self._telemetry.sizes)
        picture = labels.image_format(self._content_type)
        source = self._source() if picture and status == "200" else ""
        return size, picture or labels.suffix_format(self._path), self._cache, source

    def _source(self) -> str:
        """Where a picture that was made came from, as far as that is sure; see docs/metrics.md."""
        if self.route.service:
            return "external"
        if self._cache == "hit":
            return ""
        if self._generators:
            return "generated"
        if self._cache == "miss" and not self.outside_calls:
            return self._telemetry.profile.image_without_generator
        return ""

    def _record_success(self, route: Route) -> None:
        code = int(self.status) if self.status.isdigit() else 0
        success = route.succeeded(self._method, code, self._location)  # type: ignore[misc]
        metrics = self._telemetry.metrics
        kind = labels.OTHER
        if self.upload is not None:
            for content_type, size in self.upload.files():
                metrics.observe(UPLOAD_SIZE, size, labels.upload_type(content_type))
            kind = labels.upload_type(self.upload.first_type())
        if success is None:
            return
        if route.kind == "upload":
            metrics.count(UPLOADS, kind, "true" if success else "false")
        else:
            metrics.count(AUTH_ATTEMPTS, route.operation, "true" if success else "false")
