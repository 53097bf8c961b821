"""The doctor's checks of the exporter: whether it responds, what waits, what has failed."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from avatar_telemetry._base.guard import Guard
from avatar_telemetry.cli.checks import exporter as checks
from avatar_telemetry.cli.checks.exporter import check_exporter, read_rings
from avatar_telemetry.cli.checks.finding import Finding
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.exporter.last_error import ErrorFile
from avatar_telemetry.exporter.page import FILE_NAME, PageServer
from avatar_telemetry.exporter.record import make_record, write_record
from avatar_telemetry.exporter.ring_file import HEADER, ring_path
from avatar_telemetry.metrics.exposition import MetricsPage
from tests.support.rings import Worker
from tests.support.waiting import DEADLINE

SETTINGS = Settings.from_env({"OTEL_EXPORT_ENABLED": "true"})
HOUR = 3600.0


@contextmanager
def serving_page(folder: Path) -> Iterator[None]:
    """An exporter that responds."""
    guard = Guard()
    server = PageServer(folder, MetricsPage(lambda: [], guard), guard)
    server.start()
    try:
        yield
    finally:
        server.stop()


def recorded(folder: Path, *, wanted: bool = True) -> Path:
    """A folder with the record of a server."""
    write_record(folder, replace(make_record({}), wanted=wanted))
    return folder


def examine(folder: Path, timeout: float = DEADLINE) -> dict[str, Finding]:
    return {each.check: each for each in check_exporter(SETTINGS, folder, timeout)}


def test_it_runs(tmp_path: Path) -> None:
    """An exporter that responds is good, with what waits; the pid is missing for a thread."""
    worker = Worker(recorded(tmp_path))
    worker.write("one", "two")
    with serving_page(tmp_path):
        found = examine(tmp_path)
    worker.ring.close()
    assert {each.level for each in found.values()} == {"good"}
    assert found["exporter.running"].message == (
        f"{tmp_path}: the exporter runs (a thread of a worker); waiting spans: 2"
    )


@pytest.mark.parametrize("folder", ["none", "unwanted"])
def test_none_is_expected(tmp_path: Path, folder: str) -> None:
    """Where no exporter was ever started, or none is wanted any more, nothing is reported."""
    if folder == "unwanted":
        recorded(tmp_path, wanted=False)
    assert examine(tmp_path) == {}


def test_none_runs(tmp_path: Path) -> None:
    """The socket of a killed exporter is still there, and refuses connections."""
    recorded(tmp_path)
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(tmp_path / FILE_NAME))
    assert {name: each.level for name, each in examine(tmp_path).items()} == {
        "exporter.not_running": "warning"
    }


def test_it_hangs(tmp_path: Path) -> None:
    """An exporter that accepts connections and sends nothing is distinguished from none."""
    recorded(tmp_path)
    with socket.socket(socket.AF_UNIX) as stopped:
        stopped.bind(str(tmp_path / FILE_NAME))
        stopped.listen()
        assert list(examine(tmp_path, timeout=0.05)) == ["exporter.silent"]


def test_spans_that_wait_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans that a collector should have accepted long ago are a warning, with their age."""
    worker = Worker(recorded(tmp_path))
    worker.write("old")
    now = time.time()
    monkeypatch.setattr(checks.time, "time", lambda: now + HOUR)
    with serving_page(tmp_path):
        found = examine(tmp_path)
    worker.ring.close()
    assert found["exporter.lag"].message.endswith("waiting spans: 1, the oldest for 60 min")


def test_log_records_wait(tmp_path: Path) -> None:
    """A ring of log records without a readable time has the number of items alone."""
    worker = Worker(tmp_path, signal="logs")
    worker.write("not a log record")
    found = read_rings(tmp_path, "logs")
    worker.ring.close()
    assert found.items == 1


def test_a_full_ring(tmp_path: Path) -> None:
    """A ring that is nearly full, and the spans that found no space, are warnings."""
    worker = Worker(recorded(tmp_path), size=1 << 16)
    while not read_rings(tmp_path, "spans").dropped:
        worker.write(*["span"] * 20)
    with serving_page(tmp_path):
        found = examine(tmp_path)
    worker.ring.close()
    assert {"exporter.ring_full", "exporter.dropped"} <= set(found)
    assert found["exporter.dropped"].message.endswith("full: 20")


def test_an_unreadable_ring(tmp_path: Path) -> None:
    """A ring that is corrupt is named, and hides no other one."""
    for slot in (0, 1):
        worker = Worker(recorded(tmp_path), slot)
        worker.write("one")
        worker.ring.close()
    with ring_path(tmp_path, 0).open("r+b") as file:
        file.write(b"\0" * HEADER)
    with serving_page(tmp_path):
        found = examine(tmp_path)
    assert found["exporter.unreadable"].message.endswith("read: spans-0.ring")
    assert "waiting spans: 1" in found["exporter.running"].message


@pytest.mark.parametrize(
    ("resolved", "level", "words"),
    [
        pytest.param(False, "warning", "s ago: HTTP status 401", id="lasts"),
        pytest.param(True, "note", "works again; its last error", id="resolved"),
    ],
)
def test_the_last_error(tmp_path: Path, resolved: bool, level: str, words: str) -> None:
    """The last failure is a warning as long as nothing was exported after it."""
    errors = ErrorFile(recorded(tmp_path), "traces")
    errors.failed("HTTP status 401")
    if resolved:
        errors.resolved()
    with serving_page(tmp_path):
        found = examine(tmp_path)["exporter.last_error"]
    assert found.level == level
    assert words in found.message
    assert bool(found.advice) == (level == "warning")


def test_looking_changes_nothing(tmp_path: Path) -> None:
    """No file is made, changed or locked, and every span stays in its ring."""
    worker = Worker(recorded(tmp_path))
    worker.write("one")
    worker.ring.close()
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    examine(tmp_path)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


def test_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process is found by its command line; that of another directory is not."""
    assert checks.find_process(tmp_path) == 0
    line = b"\0".join(
        (b"python", b"avatar-telemetry", b"exporter", os.fsencode(tmp_path), b"5", b"")
    )
    monkeypatch.setattr(checks.os, "listdir", lambda path: ["self", "999"])
    monkeypatch.setattr(Path, "read_bytes", lambda path: line)
    assert checks.find_process(tmp_path) == 999
    assert checks.find_process(tmp_path.parent) == 0
