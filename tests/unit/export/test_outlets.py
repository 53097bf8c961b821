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


class Part:
    """A pipeline of spans or of log records, which keeps its calls in their order."""

    calls: list[str]

    def __init__(self, *args: Any) -> None:
        self.args = args

    def __getattr__(self, name: str) -> Any:
        return lambda *args: self.calls.append(f"{type(self).__name__}.{name}")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls of the pipelines of spans and of log records, which export nothing."""
    calls: list[str] = []
    monkeypatch.setattr(outlets_module, "install_throttle", lambda *args: None)
    for name in ("Pipeline", "LogPipeline"):
        monkeypatch.setattr(outlets_module, name, type(name, (Part,), {"calls": calls}))
    return calls


EXPORTING = {
    "OTEL_EXPORT_ENABLED": "true", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "otlp",
}  # fmt: skip


def test_log_records_are_sent_beside_the_spans_at_the_end(worker: Worker, calls: list[str]) -> None:
    """The time of the end is for both: neither waits for the other to begin."""
    worker.outlets(**EXPORTING).stop(time.monotonic(), alone=False)
    assert calls == [
        "Pipeline.publish", "LogPipeline.begin_stop", "Pipeline.stop", "LogPipeline.stop",
    ]  # fmt: skip


def test_nothing_of_the_parent_is_sent_by_a_child(worker: Worker, calls: list[str]) -> None:
    """In a forked child both pipelines begin anew."""
    outlets = worker.outlets(**EXPORTING)
    calls.clear()
    outlets.forget()
    assert calls == ["Pipeline.renew", "LogPipeline.renew"]


@pytest.mark.parametrize(
    ("environ", "key"),
    [
        pytest.param({}, b"key", id="of the folder"),
        pytest.param({"AVATAR_TELEMETRY_HASH_KEY": "0123456789"}, b"0123456789", id="named"),
    ],
)
def test_hashes_are_made_with_the_key_of_the_operator(
    worker: Worker, calls: list[str], environ: dict[str, str], key: bytes
) -> None:
    """Servers that are given one key make the same hashes; the folder's key is for all others."""
    pipeline: Any = worker.outlets(**EXPORTING, **environ)._pipeline
    assert pipeline.args[2] == key
