"""The page's families: what the application has registered itself."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry, Counter, Enum, Histogram, Info
from prometheus_client.metrics_core import GaugeMetricFamily

from avatar_telemetry.config.settings import Settings
from avatar_telemetry.metrics.collector import Collector
from avatar_telemetry.metrics.exposition import render
from avatar_telemetry.metrics.registered import warn_of_absent


class Failing:
    """A collector of the application that works when it is registered, and not afterwards."""

    def describe(self) -> list[object]:
        return []

    def collect(self) -> Iterator[object]:
        raise ConnectionError("the database is away")


def page(folder: Path, registry: CollectorRegistry | None) -> str:
    collector = Collector(folder, Settings.from_env({}), registry=registry)
    return render(collector.collect(), openmetrics=False).decode()


def test_a_collector_of_the_application_that_raises(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It costs itself, and the log reports it once."""
    registry = CollectorRegistry()
    Counter("good", "Registered before.", registry=registry).inc()
    registry.register(Failing())
    collector = Collector(tmp_path, Settings.from_env({}), registry=registry)
    for _ in range(2):
        shown = {family.name for family in collector.collect()}
        assert {"good", "avatar_telemetry_slots_in_use"} <= shown
    assert caplog.text.count("a collector of the application's registry failed") == 1


def test_exemplars_of_the_application(tmp_path: Path) -> None:
    """Those of one process, whose metrics have prometheus_client's own values, are on the page."""
    registry = CollectorRegistry()
    Counter("jobs", "Jobs.", registry=registry).inc(2, exemplar={"user": "anna"})
    Histogram("sizes", "Sizes.", registry=registry).observe(0.3, exemplar={"user": "otto"})
    collector = Collector(tmp_path, Settings.from_env({}), registry=registry)
    lines = [
        line.rpartition(" ")[0]
        for line in render(collector.collect(), openmetrics=True).decode().splitlines()
        if " # {" in line
    ]
    assert lines == [
        'jobs_total 2.0 # {user="anna"} 2.0',
        'sizes_bucket{le="0.5"} 1.0 # {user="otto"} 0.3',
    ]


def test_names_and_texts_of_the_application_are_made_legal(tmp_path: Path) -> None:
    """Names that Prometheus does not read and texts without UTF-8 are as in the store."""

    class Odd:
        def collect(self) -> Iterator[GaugeMetricFamily]:
            metric = GaugeMetricFamily("a_b", "Text \ud800.", labels=["l"])
            metric.name = "a.b"
            metric.add_sample("a.b", {"x.y": "1", "x_y": "\ud800"}, 2.0)
            yield metric

    registry = CollectorRegistry()
    registry.register(Odd())
    assert 'a_b{x_y="1;?"} 2.0\n' in page(tmp_path, registry)


def test_info_and_enum_are_reported(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log names a metric that has no common value of several processes."""
    registry = CollectorRegistry()
    Info("built", "A build.", registry=registry).info({"version": "1"})
    Enum("state", "A state.", states=["up", "down"], registry=registry)
    Counter("good", "Works.", registry=registry)
    monkeypatch.setattr(prometheus_client, "REGISTRY", registry)
    with caplog.at_level(logging.WARNING):
        warn_of_absent()
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert "metric built is not on the page: an Info" in told[0]
    assert "metric state is not on the page: an Enum" in told[1]
