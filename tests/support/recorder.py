"""A layer that records into a folder of the test's own, and a look at what it recorded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import SpanKind

from avatar_telemetry._base.guard import Guard
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.metrics.exposition import MetricsPage
from avatar_telemetry.metrics.mapped import Book
from avatar_telemetry.metrics.merged import MergedStore
from avatar_telemetry.metrics.metrics import Metrics
from avatar_telemetry.profiles.ivatar import PROFILE as IVATAR
from avatar_telemetry.profiles.model import Profile
from avatar_telemetry.runtime.tracing import Pipeline
from avatar_telemetry.tracing.provider import LightTracerProvider
from avatar_telemetry.tracing.span import SpanSink
from avatar_telemetry.tracing.writer import KeptSpans
from avatar_telemetry.wsgi.middleware import TelemetryMiddleware, build_layer
from avatar_telemetry.wsgi.request_spans import RequestTracing

DIGEST = "0123456789abcdef" * 2


@dataclass
class Recorder:
    """Wraps applications, and tells what was recorded.

    Args:
        folder: where the metric files are.
        profile: of the applications.
        settings: of the layer.
        traced: record spans, too; they are kept in :attr:`spans`.
        sink: takes the spans instead.
    """

    folder: Path
    profile: Profile = IVATAR
    settings: Settings = field(default_factory=lambda: Settings.from_env({}))
    traced: bool = False
    sink: SpanSink | None = None

    def __post_init__(self) -> None:
        self.book = Book()
        self.book.open(self.folder, "0")
        self.metrics = Metrics(self.book, self.settings.max_series)
        self.guard = Guard(self.metrics.internal_error)
        self.spans: list[Any] = []
        self.provider: LightTracerProvider | None = None
        tracing = self._tracing() if self.traced else None
        page = MetricsPage(lambda: MergedStore(self.folder).read(["0"]), self.guard)
        self.layer = build_layer(
            self.settings, self.profile, self.metrics, self.guard, page, tracing
        )
        self.telemetry = self.layer.telemetry

    def wrap(self, application: Any) -> TelemetryMiddleware:
        return TelemetryMiddleware(application, lambda: self.layer)

    def using(self, **changes: Any) -> Recorder:
        """The same folder with a changed profile."""
        self.book.detach()
        profile = replace(self.profile, **changes)
        return Recorder(self.folder, profile, self.settings, self.traced)

    def set(self, **environ: str) -> Recorder:
        """The same folder with other settings."""
        self.book.detach()
        return Recorder(self.folder, self.profile, Settings.from_env(environ), self.traced)

    def of_kind(self, kind: SpanKind) -> list[Any]:
        """The spans that have ended, of one kind."""
        return [span for span in self.spans if span.kind is kind]

    @property
    def server(self) -> Any:
        """The one server span that has ended."""
        (span,) = self.of_kind(SpanKind.SERVER)
        return span

    @property
    def operation(self) -> Any:
        """The one span inside of it."""
        (span,) = self.of_kind(SpanKind.INTERNAL)
        assert span.parent == self.server.get_span_context()
        return span

    def _tracing(self) -> RequestTracing:
        settings = replace(self.settings, traces_exporters=("none",))
        kept = KeptSpans()
        self.spans = kept.spans
        pipeline = Pipeline(settings, Resource({}), b"key", self.guard, self.sink or kept)
        self.provider = pipeline.provider
        return pipeline.tracing(self.profile)

    def samples(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        return {
            (name, frozenset(labels)): value
            for family in MergedStore(self.folder).read(["0"])
            for name, labels, value in zip(family.names, family.labels, family.values, strict=True)
        }

    def value(self, name: str, **labels: str) -> float:
        """The sum over all series of a sample that bear these labels."""
        wanted = set(labels.items())
        return sum(
            value for (sample, have), value in self.samples().items()
            if sample == name and wanted <= have
        )  # fmt: skip

    def labels(self, name: str) -> list[dict[str, str]]:
        """The labels of all series of a sample that counted something."""
        return [
            dict(have) for (sample, have), value in self.samples().items()
            if sample == name and value
        ]  # fmt: skip


def watched(recorder: Recorder) -> Iterator[Recorder]:
    yield recorder
    assert recorder.value("avatar_telemetry_internal_errors_total") == 0
    assert recorder.value("ivatar_requests_in_progress") == 0
    recorder.book.detach()
