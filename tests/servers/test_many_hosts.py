"""The simulation of many hosts, with few: real pushes to a real Collector and a real Prometheus."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from avatar_telemetry.metrics.family import family
from benchmarks import budgets, report, results
from benchmarks.fleet import Host, grown
from benchmarks.many_hosts import Effort, Fleet, counted, measure
from benchmarks.sink import running_sink
from tests.support.build_servers import otelcol, prometheus
from tests.support.requirements import unavailable

LITTLE = Effort(fleets=(2,), pushes=2, every=1, spans=128)
REQUESTS = family("ivatar_requests", "counter", "", [((("path", "/"),), 3.0)])
BUSY = family("gunicorn_workers", "gauge", "", [((("state", "busy"),), 2.0)])


@pytest.mark.slow
def test_few_hosts_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every series of each host is in the Prometheus, both ways, and every span went through."""
    programs = otelcol(), prometheus()
    if not all(each.exists() for each in programs):
        unavailable("the servers are not built; see tests/support/build_servers.py")
    folders = [str(each.parent) for each in programs]
    monkeypatch.setenv("PATH", os.pathsep.join([*folders, os.environ["PATH"]]))
    measured = measure(LITTLE)
    samples = measured["host"]["samples"]
    assert samples > 500
    assert measured["collector"]["2"]["series"] >= 2 * (samples - 1)
    assert measured["direct"]["2"]["series"] >= 2 * (samples - 1)
    assert measured["direct"]["2"]["samples"] >= 2 * measured["direct"]["2"]["series"]
    assert measured["native"]["2"]["series"] < measured["direct"]["2"]["series"] / 2
    assert measured["host"]["push_bytes_gzip"] < measured["host"]["push_bytes_none"]
    assert {one["spans"] for one in measured["spans"].values()} == {128}
    assert "| 2 |" in budgets.figures_of({**machine(), "results": measured})


def test_a_host_counts_on() -> None:
    """With each push its sums have grown by as much, and its gauges stand."""
    assert grown(REQUESTS, 7).values == [21.0]
    assert grown(BUSY, 7).values == [2.0]


def test_hosts_differ(tmp_path: Path) -> None:
    """Two hosts with the same series do not count alike, and each goes only up."""
    told = [counts_of(number, tmp_path) for number in (1, 2)]
    assert told[0] != told[1]
    for first, second in told:
        assert second == 2 * first > 0


def test_a_push_that_does_not_arrive_stops_the_run(tmp_path: Path) -> None:
    """Nothing is measured of what was not taken."""
    fleet = Fleet([REQUESTS], 1, tmp_path)
    with pytest.raises(SystemExit, match="did not arrive"):
        fleet.push("http://127.0.0.1:1/v1/metrics", 1, timeout=0.2)


def test_a_fleet_reports_its_last_pushes(tmp_path: Path) -> None:
    """The requests that a fleet reports are those that its hosts have pushed last."""
    fleet = Fleet([REQUESTS, BUSY], 3, tmp_path)
    with running_sink() as sink:
        assert fleet.push(f"{sink.url}/v1/metrics", 2) == sum(
            counted(h.pushed) for h in fleet.hosts
        )
    assert fleet.late == 0


def test_the_page_has_the_figures_kept() -> None:
    """The tables of docs/scaling.md are those of the results, not somebody's memory of them."""
    kept = results.read(results.FOLDER)[budgets.PART]
    page = budgets.DOCUMENT.read_text(encoding="utf-8")
    assert report.rewritten(page, budgets.figures_of(kept), budgets.BEGIN) == page


def counts_of(number: int, folder: Path) -> tuple[float, float]:
    """The requests of a host in its first two pushes."""
    host = Host(number, [REQUESTS], "http://127.0.0.1:1", folder / str(time.monotonic_ns()))
    return counted(host.collect()), counted(host.collect())


def machine() -> dict[str, object]:
    """The conditions beside the figures."""
    return {"machine": results.machine(), "quick": True}
