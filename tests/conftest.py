"""What most tests need: a layer that records into a folder of the test's own, and a look at it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from avatar_telemetry.exposition import MetricsPage
from avatar_telemetry.guard import Guard
from avatar_telemetry.mapped import Book
from avatar_telemetry.metrics import Metrics
from avatar_telemetry.middleware import Layer, TelemetryMiddleware
from avatar_telemetry.profile import Profile
from avatar_telemetry.profiles.ivatar import PROFILE as IVATAR
from avatar_telemetry.settings import Settings
from avatar_telemetry.store import MergedStore
from avatar_telemetry.telemetry import Telemetry

DIGEST = "0123456789abcdef" * 2


@dataclass
class Recorder:
    """Wraps applications, and tells what was recorded.

    Args:
        folder: where the metric files are.
        profile: of the applications.
        settings: of the layer.
    """

    folder: Path
    profile: Profile = IVATAR
    settings: Settings = field(default_factory=lambda: Settings.from_env({}))

    def __post_init__(self) -> None:
        self.book = Book()
        self.book.open(self.folder, "0")
        self.metrics = Metrics(self.book, self.settings.max_series)
        self.guard = Guard(self.metrics.internal_error)
        sizes = {size: str(size) for size in self.settings.sizes}
        self.telemetry = Telemetry(self.metrics, self.guard, self.profile, sizes)
        page = MetricsPage(lambda: MergedStore(self.folder).read(["0"]), self.guard)
        self.layer = Layer(self.telemetry, self.settings, page)

    def wrap(self, application: Any) -> TelemetryMiddleware:
        return TelemetryMiddleware(application, lambda: self.layer)

    def using(self, **changes: Any) -> Recorder:
        """The same folder with a changed profile."""
        self.book.detach()
        return Recorder(self.folder, replace(self.profile, **changes), self.settings)

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


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder(tmp_path)
    yield recorder
    assert recorder.value("avatar_telemetry_internal_errors_total") == 0
    assert recorder.value("ivatar_requests_in_progress") == 0
    recorder.book.detach()
