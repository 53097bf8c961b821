"""The last push of a server, by its master."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData

from avatar_telemetry import Settings
from avatar_telemetry.export import pusher
from avatar_telemetry.export.speaker import push_last
from avatar_telemetry.guard import Guard
from avatar_telemetry.store.folder import RuntimeFolder
from avatar_telemetry.store.mapped import Book
from avatar_telemetry.store.metrics import Metrics
from avatar_telemetry.store.slots import is_led, try_lead

SETTINGS = Settings.from_env({"OTEL_EXPORT_ENABLED": "true"})
SINCE = 1_000.0
"""Seconds since the epoch."""


class Exporter:
    """An exporter that keeps the values of one counter, by the start of its series."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, float]] = []

    def export(self, data: MetricsData) -> MetricExportResult:
        self.seen += [
            (point.start_time_unix_nano, point.value)
            for metric in data.resource_metrics[0].scope_metrics[0].metrics
            if metric.name == "avatar_telemetry_internal_errors_total"
            for point in metric.data.data_points
            if point.attributes["where"] == "scrape"
        ]
        return MetricExportResult.SUCCESS


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Exporter:
    exporter = Exporter()
    monkeypatch.setattr(pusher, "metric_exporters", lambda *args: [exporter])
    return exporter


@pytest.fixture
def folder(tmp_path: Path) -> RuntimeFolder:
    """The folder of a server whose one worker has counted one error and ended."""
    book = Book()
    book.open(tmp_path, "0")
    Metrics(book, 1_000).internal_error("scrape")
    book.detach()
    return RuntimeFolder(tmp_path, False, -1, SINCE, b"")


def test_ended_workers_are_pushed(folder: RuntimeFolder, exporter: Exporter) -> None:
    """What dead workers have counted is pushed once more, since the start of the run."""
    failures: list[str] = []
    push_last(folder, SETTINGS, Guard(failures.append))
    assert exporter.seen == [(int(SINCE * 1e9), 1.0)]
    assert failures == []
    assert not is_led(folder.path)


def test_another_server_that_goes_on_pushes(folder: RuntimeFolder, exporter: Exporter) -> None:
    """Where the master of an upgrade in place uses the folder nothing is pushed twice."""
    lock = try_lead(folder.path)
    assert lock is not None
    try:
        push_last(folder, SETTINGS, Guard())
    finally:
        os.close(lock)
    assert exporter.seen == []
