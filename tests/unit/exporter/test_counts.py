"""Counters of the exporter in the runtime folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from avatar_telemetry._base.guard import Guard
from avatar_telemetry.exporter.counts import IDENTIFIER, Counts
from avatar_telemetry.metrics import mapped
from avatar_telemetry.metrics.instruments import INTERNAL_ERRORS, SPANS
from tests.support.descriptors import open_below
from tests.support.samples import samples_in


def value(folder: Path, name: str, **labels: str) -> float:
    """The value of a counter of the exporters of a folder."""
    return samples_in(folder, (IDENTIFIER,))[name, frozenset(labels.items())]


def test_counts_are_merged_with_those_of_the_workers(tmp_path: Path) -> None:
    """The counts stand in files that the merged page reads."""
    counts = Counts(tmp_path, Guard())
    counts.add(SPANS, "exported", 3)
    counts.add(SPANS, "exported", 2)
    counts.add(SPANS, "failed", 1)
    counts.internal_error("ring")
    assert value(tmp_path, f"{SPANS.name}_total", result="exported") == 5
    assert value(tmp_path, f"{SPANS.name}_total", result="failed") == 1
    assert value(tmp_path, f"{INTERNAL_ERRORS.name}_total", where="ring") == 1
    counts.close()
    assert open_below(tmp_path) == []


def test_the_next_exporter_continues(tmp_path: Path) -> None:
    """No count falls when the exporter is replaced."""
    for _ in range(3):
        counts = Counts(tmp_path, Guard())
        counts.add(SPANS, "exported", 2)
        counts.close()
    assert value(tmp_path, f"{SPANS.name}_total", result="exported") == 6


def test_count_after_the_end(tmp_path: Path) -> None:
    """A thread that outlives the exporter counts nowhere, without an exception."""
    counts = Counts(tmp_path, Guard())
    counts.add(SPANS, "exported", 2)
    counts.close()
    counts.add(SPANS, "exported", 2)
    assert value(tmp_path, f"{SPANS.name}_total", result="exported") == 2


def test_files_without_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where a counter has no place it is kept in memory; the failure is logged once, though the
    counter of failures has no place either."""

    def fail(*args: object) -> None:
        raise OSError(28, "no space left on device")

    guard = Guard()
    counts = Counts(tmp_path, guard)
    guard.count = counts.internal_error  # as the exporter does it
    with monkeypatch.context() as full:
        full.setattr(mapped, "reserve", fail)
        for _ in range(2):
            counts.add(SPANS, "exported", 2)
            counts.internal_error("export")
            counts.check()
    assert [each.exc_info[0] for each in caplog.records if each.exc_info] == [OSError]
    counts.check()
    assert value(tmp_path, f"{SPANS.name}_total", result="exported") == 4
    counts.close()


def test_foreign_file_of_counters(tmp_path: Path) -> None:
    """Something else of that name stops no exporter."""
    os.mkfifo(tmp_path / f"counter_{IDENTIFIER}.db")
    failures: list[str] = []
    counts = Counts(tmp_path, Guard(failures.append))
    counts.add(SPANS, "exported", 2)
    assert set(failures) == {"store"}
    counts.close()
