"""Recording into memory, for tests of one's own profile, probes and views.

    with recording(profile=PROFILE) as recorded:
        application = recorded.wrap(application)
        ...                                           # call it
        assert recorded.value("ivatar_requests_total", path="/picture/{id}") == 1
        assert recorded.span("GET /picture/{id}").attributes["http.status_code"] == 200

Nothing leaves the process, and no server is needed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan

from avatar_telemetry._base.guard import Guard
from avatar_telemetry.config.resource import worker_attributes
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.metrics.exposition import MetricsPage
from avatar_telemetry.metrics.mapped import Book
from avatar_telemetry.metrics.merged import MergedStore
from avatar_telemetry.metrics.metrics import Metrics
from avatar_telemetry.probes import POLICY, install_probes
from avatar_telemetry.profiles.model import Profile
from avatar_telemetry.runtime.startup import load_profile
from avatar_telemetry.runtime.tracing import Pipeline
from avatar_telemetry.tracing.writer import KeptSpans
from avatar_telemetry.wsgi.middleware import TelemetryMiddleware, build_layer
from avatar_telemetry.wsgi.worker import WORKER

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

SLOT = "0"
_ENVIRON = {"OTEL_EXPORT_ENABLED": "true", "AVATAR_TELEMETRY_HASH_KEY": "not-a-secret"}
# A test sends nothing, whatever its settings are.
_NO_EXPORT = {
    "OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none",
}  # fmt: skip


class Recording:
    """Recorded metrics and spans; :func:`recording` makes one.

    Args:
        folder: the directory of the metric files.
        settings: the settings of the worker.
        profile: the profile of the applications.
    """

    def __init__(self, folder: Path, settings: Settings, profile: Profile) -> None:
        self._folder = folder
        self._book = Book()
        self._book.open(folder, SLOT)
        metrics = Metrics(self._book, settings.max_series)
        guard = Guard(metrics.internal_error)
        self._kept = KeptSpans()
        self._pipeline = Pipeline(
            settings, Resource(worker_attributes(settings, 0)), settings.hash_key.encode(),
            guard, self._kept,
        )  # fmt: skip
        page = MetricsPage(lambda: MergedStore(folder).read([SLOT]), guard)
        tracing = self._pipeline.tracing(profile)
        self._layer = build_layer(settings, profile, metrics, guard, page, tracing)
        self.telemetry = self._layer.telemetry

    def wrap(self, application: WSGIApplication) -> WSGIApplication:
        """Wrap an application as :func:`~avatar_telemetry.instrument` does."""
        return TelemetryMiddleware(application, lambda: self._layer)

    def spans(self) -> tuple[ReadableSpan, ...]:
        """Return the spans that have ended; those of a request after its end."""
        return tuple(self._kept.spans)

    def span(self, name: str) -> ReadableSpan:
        """Return the only span with a name.

        Raises:
            LookupError: there is no such span, or more than one.
        """
        found = [span for span in self.spans() if span.name == name]
        if len(found) != 1:
            names = ", ".join(span.name for span in self.spans())
            raise LookupError(f"{len(found)} spans are named {name!r}; there are: {names}")
        return found[0]

    def value(self, sample: str, **labels: str) -> float:
        """Return the sum of a sample over all series with these labels, 0 where there is none.

        Args:
            sample: as it stands on the metrics page, such as ``ivatar_requests_total``.
            labels: those that matter.
        """
        return sum(
            value
            for family in MergedStore(self._folder).read([SLOT])
            for name, have, value in zip(family.names, family.labels, family.values, strict=True)
            if name == sample and labels.items() <= dict(have).items()
        )

    def close(self) -> None:
        """Close the files."""
        self._book.detach()


@contextmanager
def recording(
    profile: Profile | None = None, environ: Mapping[str, str] | None = None
) -> Iterator[Recording]:
    """Record into memory until the end of the block, what is recorded by hand included.

    Probes, which stay after the block and then do nothing, are installed for the profile. A span is
    recorded for every request, except as ``OTEL_TRACES_SAMPLER`` and ``AVATAR_TELEMETRY_KEEP``
    decide.

    Args:
        profile: what is known about the application; else ``AVATAR_TELEMETRY_PROFILE``.
        environ: settings, as a worker would find them in its environment. The test's own
            environment is not looked at.

    Raises:
        SettingsError: the settings cannot be used.
    """
    settings = Settings.from_env({**_ENVIRON, **(environ or {}), **_NO_EXPORT})
    profile = profile or load_profile(settings.profile)
    install_probes(profile, settings.probes_off)
    with tempfile.TemporaryDirectory(prefix="avatar-telemetry-test-") as folder:
        recorded = Recording(Path(folder), settings, profile)
        before, WORKER.find = WORKER.find, lambda: recorded.telemetry
        rules = (POLICY.privacy, POLICY.propagate_to, POLICY.semconv, POLICY.guard)
        POLICY.set(
            settings.privacy, settings.propagate_to, settings.semconv, recorded.telemetry.guard
        )
        try:
            yield recorded
        finally:
            WORKER.find = before
            POLICY.set(*rules)
            recorded.close()
