"""A real Prometheus scrapes the demo server; the seed document's queries mean what they say."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from demo_client import Clients
from gunicorn_server import DEADLINE, Metrics, Serve, eventually, free_port
from test_end_to_end import demo, memcached, outside  # noqa: F401 - fixtures

sys.path.insert(0, str(Path(__file__).parents[1]))
from build_servers import prometheus as built_prometheus
from real_servers import unavailable

CONFIGURATION = """
global:
  scrape_interval: 1s
scrape_configs:
  - job_name: demo
    static_configs:
      - targets: ["{address}"]
"""
WINDOW = 300.0
Labels = frozenset[tuple[str, str]]


class Prometheus:
    """A running Prometheus.

    Args:
        url: of its API.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def query(self, expression: str, at: float) -> list[dict[str, Any]]:
        """The result of an instant query."""
        query = urllib.parse.urlencode({"query": expression, "time": f"{at:.3f}"})
        url = f"{self._url}/api/v1/query?{query}"
        with urllib.request.urlopen(url, timeout=DEADLINE) as answer:
            return json.load(answer)["data"]["result"]

    def vector(self, expression: str, at: float) -> dict[Labels, float]:
        """The same by labels, without those that the scrape adds."""
        return {
            _own_labels(each["metric"]): float(each["value"][1])
            for each in self.query(expression, at)
        }

    def samples(self, selector: str, at: float) -> dict[Labels, list[tuple[float, float]]]:
        """The raw samples of the window before a time."""
        return {
            _own_labels(each["metric"]): [(when, float(value)) for when, value in each["values"]]
            for each in self.query(f"{selector}[{WINDOW:.0f}s]", at)
        }


@pytest.fixture
def scrape(tmp_path: Path) -> Iterator[Callable[[str], Prometheus]]:
    """Starts a Prometheus that scrapes an address."""
    binary = built_prometheus()
    if not binary.exists():
        unavailable("Prometheus is not built; see tests/build_servers.py")
    processes = []

    def start(address: str) -> Prometheus:
        port = free_port()
        configuration = tmp_path / "prometheus.yml"
        configuration.write_text(CONFIGURATION.format(address=address))
        log = open(tmp_path / "prometheus.log", "wb")  # noqa: SIM115 - closed with the process
        process = subprocess.Popen(
            [str(binary), f"--config.file={configuration}", f"--storage.tsdb.path={tmp_path}/tsdb",
             f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log,
        )  # fmt: skip
        processes.append((process, log))
        prometheus = Prometheus(f"http://127.0.0.1:{port}")
        eventually(lambda: _answers(prometheus), what="Prometheus")
        return prometheus

    yield start
    for process, log in processes:
        process.terminate()
        process.wait(30)
        log.close()


def test_the_seeds_queries_return_what_the_clients_did(
    serve: Serve,
    tmp_path: Path,
    memcached: str,  # noqa: F811
    outside: str,  # noqa: F811
    scrape: Callable[[str], Prometheus],
) -> None:
    """Generation rate, cache hit ratio, generation time and upload success are the tally's."""
    server = demo(serve, tmp_path, memcached, outside)
    with Clients(server.request, 2, 150, seed=7):
        pass  # a counter's first value is no increase to Prometheus: let all series exist before
    prometheus = scrape(server._address.removeprefix("http://"))
    eventually(lambda: prometheus.vector("up == 1", time.time()), what="the first scrape")
    before = server.metrics()
    eventually(lambda: _settled(prometheus, before), what="the scrape of the start")
    with Clients(server.request, 2, 150, seed=8) as clients:
        pass
    after = server.metrics()
    eventually(lambda: _settled(prometheus, after), what="the scrape of the end")
    now = _last_scrape(prometheus)
    tally = clients.tally().counts

    rates = prometheus.vector("rate(ivatar_avatars_generated_total[5m])", now)
    raw = prometheus.samples("ivatar_avatars_generated_total", now)
    for labels, rate in rates.items():
        if ("ivatar_avatars_generated_total", labels) in before:
            done = float(tally["ivatar_avatars_generated_total", labels])
            # One picture more or less would be some percent.
            wanted = _extrapolated_rate(raw[labels], done, now)
            assert rate == pytest.approx(wanted, rel=0.002), dict(labels)

    ratios = prometheus.vector(
        "rate(ivatar_avatar_cache_hits_total[5m]) / (rate(ivatar_avatar_cache_hits_total[5m])"
        " + rate(ivatar_avatar_cache_misses_total[5m]))",
        now,
    )
    raw_hits = prometheus.samples("ivatar_avatar_cache_hits_total", now)
    raw_misses = prometheus.samples("ivatar_avatar_cache_misses_total", now)
    checked = 0
    for labels, ratio in ratios.items():
        hits = float(tally["ivatar_avatar_cache_hits_total", labels])
        misses = float(tally["ivatar_avatar_cache_misses_total", labels])
        known = ("ivatar_avatar_cache_hits_total", labels) in before
        if known and ("ivatar_avatar_cache_misses_total", labels) in before and hits + misses:
            hits = _extrapolated_rate(raw_hits[labels], hits, now)
            misses = _extrapolated_rate(raw_misses[labels], misses, now)
            assert ratio == pytest.approx(hits / (hits + misses), rel=0.002), dict(labels)
            checked += 1
    assert checked >= 3

    quantiles = prometheus.vector(
        "histogram_quantile(0.95, rate(ivatar_avatar_generation_seconds_bucket[5m]))", now
    )
    for labels in (frozenset({("format", "png"), ("source", "generated")}),
                   frozenset({("format", "jpg"), ("source", "uploaded")})):  # fmt: skip
        assert quantiles[labels] == pytest.approx(_quantile(0.95, labels, before, after))

    shares = prometheus.vector(
        'rate(ivatar_file_uploads_total{success="true"}[5m]) / rate(ivatar_file_uploads_total[5m])',
        now,
    )
    assert shares, "the seed's query divides each series by itself, so each is 1"
    assert all(share == pytest.approx(1.0) for share in shares.values() if share == share)
    overall = prometheus.vector(
        'sum(rate(ivatar_file_uploads_total{success="true"}[5m]))'
        " / sum(rate(ivatar_file_uploads_total[5m]))",
        now,
    )
    good = bad = 0.0
    for (name, labels), value in tally.items():
        if name == "ivatar_file_uploads_total":
            good += value * (("success", "true") in labels)
            bad += value * (("success", "false") in labels)
    assert list(overall.values()) == [pytest.approx(good / (good + bad), rel=0.02)]
    info = prometheus.vector("target_info", now)
    assert ("service_name", "ivatar") in next(iter(info))


def _answers(prometheus: Prometheus) -> bool:
    try:
        return prometheus.query("vector(1)", time.time()) != []
    except OSError:
        return False


def _last_scrape(prometheus: Prometheus) -> float:
    """A time at which every query sees the same samples: one under way is later than that."""
    (samples,) = prometheus.samples("up", time.time()).values()
    return max(when for when, _ in samples)


def _own_labels(metric: dict[str, str]) -> Labels:
    added = {"__name__", "instance", "job"}
    return frozenset((name, value) for name, value in metric.items() if name not in added)


def _settled(prometheus: Prometheus, page: Metrics) -> bool:
    """Whether the newest scrape shows what stands on this page."""
    name = "ivatar_requests_total"
    wanted = {labels: value for (sample, labels), value in page.items() if sample == name}
    return prometheus.vector(name, time.time()) == wanted


def _extrapolated_rate(samples: list[tuple[float, float]], done: float, now: float) -> float:
    """What Prometheus' ``rate`` makes of an increase (promql/functions.go, extrapolatedRate)."""
    first, last = samples[0][0], samples[-1][0]
    sampled = last - first
    average = sampled / (len(samples) - 1)
    to_start, to_end = first - (now - WINDOW), now - last
    if to_start >= average * 1.1:
        to_start = average / 2
    if done > 0 and samples[0][1] >= 0:
        to_start = min(to_start, sampled * samples[0][1] / done)
    if to_end >= average * 1.1:
        to_end = average / 2
    return done * (sampled + to_start + to_end) / sampled / WINDOW


def _quantile(share: float, labels: Labels, before: Metrics, after: Metrics) -> float:
    """The same interpolation within a bucket that Prometheus makes, from two of our own pages."""
    name = "ivatar_avatar_generation_seconds_bucket"
    buckets = sorted(
        (float(dict(have)["le"]), value - before.get((sample, have), 0.0))
        for (sample, have), value in after.items()
        if sample == name and labels < have
    )
    rank = share * buckets[-1][1]
    lower, below = 0.0, 0.0
    for bound, count in buckets:
        if count >= rank:
            return lower + (bound - lower) * (rank - below) / (count - below)
        lower, below = bound, count
    raise AssertionError("no such quantile")
