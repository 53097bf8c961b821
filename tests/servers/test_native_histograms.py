"""Native histograms give the values of classic ones, in a real Prometheus that stores both."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from ivatar_boards import BOARDS
from ivatar_boards.spec import WINDOW
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from avatar_telemetry.metrics.instruments import INSTRUMENTS
from tests.support.local_server import Handler, make_server, serving
from tests.support.promtool import rules
from tests.support.real_prometheus import Prometheus, configured
from tests.support.waiting import eventually

CONFIGURATION = """
global:
  scrape_interval: 1s
  convert_classic_histograms_to_nhcb: true
  always_scrape_classic_histograms: true
scrape_configs:
  - job_name: ivatar
    static_configs:
      - targets: ["{address}"]
        labels: {{environment: production}}
"""
HISTOGRAMS = [each for each in INSTRUMENTS if each.type == "histogram"]
LABELS = {"path": "/avatar/{digest}"}
RANDOM_STATE = 6
FIRST, MORE = 2000, 40
"""Observations before the first scrape, so that no counter seems new, and before each other one."""
RATES = 3
"""Scrapes before the queries."""


def metered() -> tuple[CollectorRegistry, list[Histogram]]:
    """The histograms of the package, empty."""
    registry = CollectorRegistry()
    return registry, [
        Histogram(each.name, each.documentation, each.labels, buckets=each.buckets,
                  registry=registry)
        for each in HISTOGRAMS
    ]  # fmt: skip


def observe(histograms: list[Histogram], values: random.Random, number: int) -> None:
    """Record values in all buckets of two series of each histogram."""
    for instrument, histogram in zip(HISTOGRAMS, histograms, strict=True):
        for series in ("a", "b"):
            labels = {name: LABELS.get(name, series) for name in instrument.labels}
            for _ in range(number):
                bound = values.choice(instrument.buckets)
                histogram.labels(**labels).observe(bound * values.uniform(0.5, 1.2))


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Prometheus]:
    """A Prometheus that has scraped growing histograms and stores each of them twice."""
    registry, histograms = metered()
    values = random.Random(RANDOM_STATE)
    observe(histograms, values, FIRST)

    class Page(Handler):
        def do_GET(self) -> None:
            observe(histograms, values, MORE)
            self.respond(200, generate_latest(registry), Content_Type="text/plain; version=0.0.4")

    server = make_server(Page)
    configuration = tmp_path / "prometheus.yml"
    configuration.write_text(CONFIGURATION.format(address=f"127.0.0.1:{server.server_port}"))
    with serving(server), configured(configuration, tmp_path / "data") as prometheus:
        eventually(
            lambda: prometheus.query(f"count_over_time(up[1m]) >= {RATES}"), what="the scrapes"
        )
        yield prometheus


def alternatives() -> set[tuple[str, str]]:
    """The classic and the native half of each query of the dashboards and the rules."""
    queries = [query.expression for board in BOARDS for panel in board.panels
               for query in panel.queries]  # fmt: skip
    queries += [rule["expr"] for rule in rules()]
    found = set()
    for query in queries:
        classic, _, native = " ".join(query.split()).partition(" or ")
        if "histogram_" in native:
            found.add((classic, native))
    return found


@pytest.mark.slow
def test_both_kinds_give_the_same(both: Prometheus) -> None:
    """Quantiles, sums, averages and the latency objective are equal; one has a single series."""
    # All samples up to the time of a stored "up" are stored: they are committed together.
    at = float(both.query("timestamp(up)")[0]["value"][1])

    def values(query: str) -> dict[frozenset[tuple[str, str]], float]:
        query = query.replace(WINDOW, "1m").replace("$environment", ".*")
        result = both.query(query.replace("$instance", ".*"), at)
        return {frozenset(each["metric"].items()): float(each["value"][1]) for each in result}

    pairs = alternatives()
    assert len(pairs) > 30
    for classic, native in pairs:
        expected = values(classic)
        assert expected, classic
        assert values(native) == pytest.approx(expected, rel=1e-9), native
    for each in HISTOGRAMS:
        label_sets = len(both.query(f"{each.name}_count", at))
        assert len(both.query(each.name, at)) == label_sets
        assert len(both.query(f"{each.name}_bucket", at)) == label_sets * (len(each.buckets) + 1)
