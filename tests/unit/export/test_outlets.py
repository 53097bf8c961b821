"""The exports of one worker: where none is asked for, and where a part of them fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from avatar_telemetry import Settings
from avatar_telemetry.export import outlets as outlets_module
from avatar_telemetry.export.outlets import Outlets
from avatar_telemetry.guard import Guard
from avatar_telemetry.profiles.generic import PROFILE
from avatar_telemetry.scrape.collector import Collector
from avatar_telemetry.scrape.exposition import MetricsPage
from avatar_telemetry.store.folder import RuntimeFolder
from avatar_telemetry.store.mapped import Book
from avatar_telemetry.store.metrics import Metrics


class Worker:
    """A worker with its metrics and failures."""

    def __init__(self, folder: Path) -> None:
        self.book = Book()
        self.book.open(folder, "0")
        self.failures: list[str] = []
        self.guard = Guard(self.failures.append)
        self.folder = RuntimeFolder(folder, False, -1, 1_000.0, b"key")

    def outlets(self, **environ: str) -> Outlets:
        """The exports of the worker; it leads where it can."""
        settings = Settings.from_env(environ)
        made = Outlets(settings, self.folder, 0, Metrics(self.book, 1_000), self.guard)
        collector = Collector(self.folder.path, settings)
        made.lead(collector, MetricsPage(collector.collect, self.guard))
        return made


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    worker = Worker(tmp_path)
    yield worker
    worker.book.detach()


@pytest.mark.parametrize(
    "environ",
    [{}, {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_LOGS_EXPORTER": "otlp"}],
    ids=["default", "not enabled"],
)
def test_nothing_is_sent_by_default(worker: Worker, environ: dict[str, str]) -> None:
    """With the export off there is no thread, no span and no log handler."""
    threads = set(threading.enumerate())
    outlets = worker.outlets(**environ)
    assert outlets.tracing(PROFILE) is None
    outlets.take_logs()
    outlets.forget()
    outlets.stop(time.monotonic(), alone=True)
    assert set(threading.enumerate()) == threads
    assert worker.failures == []


def test_a_part_that_fails_is_counted(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker starts and ends without the spans that it cannot export."""

    def fail(*args: Any) -> None:
        raise OSError("no memory")

    monkeypatch.setattr(outlets_module, "install_throttle", lambda *args: None)
    monkeypatch.setattr(outlets_module, "Pipeline", fail)
    outlets = worker.outlets(OTEL_EXPORT_ENABLED="true", OTEL_METRICS_EXPORTER="none")
    assert worker.failures == ["export"]
    assert outlets.tracing(PROFILE) is None
    outlets.stop(time.monotonic(), alone=False)
    assert worker.failures == ["export"]
