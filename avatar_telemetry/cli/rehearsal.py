"""A request that passes through the real layer, alone: nothing is served and nothing leaves.

rehearse(settings, profile, "GET", "/avatar/…?s=80", Answer(cache="miss")).spans
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes
from wsgiref.util import setup_testing_defaults

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan

from avatar_telemetry.config.settings import Settings
from avatar_telemetry.guard import Guard
from avatar_telemetry.profile import Profile, Route
from avatar_telemetry.scrape.exposition import MetricsPage
from avatar_telemetry.store.mapped import Book
from avatar_telemetry.store.merged import MergedStore
from avatar_telemetry.store.metrics import Metrics
from avatar_telemetry.tracing.pipeline import Pipeline
from avatar_telemetry.tracing.writer import KeptSpans
from avatar_telemetry.wsgi.middleware import Layer, TelemetryMiddleware
from avatar_telemetry.wsgi.request import current_request
from avatar_telemetry.wsgi.telemetry import Telemetry

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

# An example's client (RFC 5737), so that one sees what becomes of an address.
CLIENT = "192.0.2.77"


@dataclass(frozen=True)
class Answer:
    """What the application says.

    Args:
        status: code.
        content_type: empty: as fits the route.
        location: where it redirects.
        cache: what the avatar cache says, or empty.
        generator: of the profile, or empty.
    """

    status: int = 200
    content_type: str = ""
    location: str = ""
    cache: str = ""
    generator: str = ""


@dataclass(frozen=True)
class Rehearsed:
    """What became of a request.

    Args:
        target: path and query.
        route: what the profile says.
        success: of an upload or a log-in, ``None`` where it attempts nothing.
        series: lines of the counters that counted.
        spans: name and attributes of each, outermost first.
    """

    target: str
    route: Route
    success: bool | None
    series: list[str]
    spans: list[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "target": self.target, "route": self.route.template, "kind": self.route.kind,
            "operation": self.route.operation, "success": self.success, "series": self.series,
            "spans": self.spans,
        }  # fmt: skip


def rehearse(
    settings: Settings, profile: Profile, method: str, target: str, answer: Answer
) -> Rehearsed:
    """Let a request pass.

    Args:
        settings: of the server.
        profile: of the application.
        method: of the request.
        target: path and query.
        answer: of the application.
    """
    path, _, query = target.partition("?")
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": method, "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query, "REMOTE_ADDR": CLIENT, "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "example.org", "wsgi.input": BytesIO(),
    }  # fmt: skip
    setup_testing_defaults(environ)
    route = profile.route(environ["PATH_INFO"])
    with tempfile.TemporaryDirectory() as folder:
        series, spans = _record(
            settings, profile, environ, _application(route, profile, answer), Path(folder)
        )
    attempts = route.succeeded(method, answer.status, answer.location) if route.succeeded else None
    return Rehearsed(target, route, attempts, series, spans)


def _record(
    settings: Settings, profile: Profile, environ: WSGIEnvironment, application: Any, folder: Path
) -> tuple[list[str], list[dict[str, Any]]]:
    """The counters and the spans of one request."""
    book = Book()
    book.open(folder, "0")
    metrics = Metrics(book, settings.max_series)
    guard = Guard(metrics.internal_error)
    # Each request is shown, whatever share of them is recorded in production.
    quiet = replace(settings, traces_exporters=("none",), sampler="always_on", sampler_argument="")
    key = settings.hash_key.encode() or b"rehearsal"
    kept = KeptSpans()
    pipeline = Pipeline(quiet, Resource.get_empty(), key, guard, kept)
    sizes = {size: str(size) for size in settings.sizes}
    telemetry = Telemetry(metrics, guard, profile, sizes, pipeline.tracing(profile))
    page = MetricsPage(lambda: [], guard)
    layer = Layer(telemetry, replace(settings, metrics_path=""), page)
    body = TelemetryMiddleware(application, lambda: layer)(environ, _start_response)
    _exhaust(body)
    series = list(_counted(folder))
    book.detach()
    return series, [_told(span) for span in reversed(kept.spans)]


def _application(route: Route, profile: Profile, answer: Answer) -> Any:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = current_request()
        if request is not None and answer.cache:
            for cache in profile.avatar_cache[:1]:
                request.cache_lookup(cache, hit=answer.cache == "hit")
        if request is not None and answer.generator:
            request.generated(answer.generator)
        fitting = "image/png" if route.kind == "avatar" and answer.status == 200 else "text/html"
        headers = [("Content-Type", answer.content_type or fitting)]
        if answer.location:
            headers.append(("Location", answer.location))
        start_response(f"{answer.status} Rehearsed", headers)
        return [b"rehearsed"]

    return application


def _start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
    return lambda data: None


def _exhaust(body: Iterable[bytes]) -> None:
    for _ in body:
        continue
    close = getattr(body, "close", None)
    if close is not None:
        close()


def _counted(folder: Path) -> Iterable[str]:
    """The lines of counters, and of the number of each histogram, that are not zero."""
    for family in MergedStore(folder).read(["0"]):
        for name, prefix, value in zip(family.names, family.prefixes, family.values, strict=True):
            if value and name.endswith(("_total", "_count")):
                yield f"{prefix}{value:g}"


def _told(span: ReadableSpan) -> dict[str, Any]:
    return {"name": span.name, "attributes": dict(span.attributes or {})}
