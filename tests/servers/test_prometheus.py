"""A real Prometheus scrapes the demo server; the documented queries return what they describe."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.demo_client import Clients
from tests.support.demo_site import demo
from tests.support.gunicorn_server import Metrics, Serve, eventually
from tests.support.real_prometheus import WINDOW, Labels, Prometheus, prometheus


@pytest.fixture
def scrape(tmp_path: Path) -> Iterator[Callable[[str], Prometheus]]:
    """Starts a Prometheus that scrapes an address."""
    with ExitStack() as servers:
        yield lambda address: servers.enter_context(prometheus(tmp_path, address))


def test_the_documented_queries_return_what_the_clients_did(
    serve: Serve,
    tmp_path: Path,
    memcached: str,
    outside: str,
    scrape: Callable[[str], Prometheus],
) -> None:
    """Generation rate, cache hit ratio, generation time and upload success are the tally's."""
    server = demo(serve, tmp_path, memcached, outside)
    with Clients(server.request, 2, 150, random_state=7):
        pass  # a counter's first value is no increase to Prometheus: let all series exist before
    scraper = scrape(server._address.removeprefix("http://"))
    eventually(lambda: scraper.vector("up == 1", time.time()), what="the first scrape")
    before = server.metrics()
    eventually(lambda: _settled(scraper, before), what="the scrape of the start")
    with Clients(server.request, 2, 150, random_state=8) as clients:
        pass
    after = server.metrics()
    eventually(lambda: _settled(scraper, after), what="the scrape of the end")
    now = _last_scrape(scraper)
    tally = clients.tally().counts

    rates = scraper.vector("rate(ivatar_avatars_generated_total[5m])", now)
    raw = scraper.samples("ivatar_avatars_generated_total", now)
    for labels, rate in rates.items():
        if ("ivatar_avatars_generated_total", labels) in before:
            done = float(tally["ivatar_avatars_generated_total", labels])
            # One picture more or less would be some percent.
            wanted = _extrapolated_rate(raw[labels], done, now)
            assert rate == pytest.approx(wanted, rel=0.002), dict(labels)

    ratios = scraper.vector(
        "rate(ivatar_avatar_cache_hits_total[5m]) / (rate(ivatar_avatar_cache_hits_total[5m])"
        " + rate(ivatar_avatar_cache_misses_total[5m]))",
        now,
    )
    checked = 0
    for labels, ratio in ratios.items():
        hits = float(tally["ivatar_avatar_cache_hits_total", labels])
        misses = float(tally["ivatar_avatar_cache_misses_total", labels])
        known = ("ivatar_avatar_cache_hits_total", labels) in before
        if known and ("ivatar_avatar_cache_misses_total", labels) in before and hits + misses:
            assert ratio == pytest.approx(hits / (hits + misses)), dict(labels)
            checked += 1
    assert checked >= 3

    quantiles = scraper.vector(
        "histogram_quantile(0.95, rate(ivatar_avatar_generation_seconds_bucket[5m]))", now
    )
    for labels in (frozenset({("format", "png"), ("source", "generated")}),
                   frozenset({("format", "jpg"), ("source", "uploaded")})):  # fmt: skip
        assert quantiles[labels] == pytest.approx(_quantile(0.95, labels, before, after))

    shares = scraper.vector(
        'rate(ivatar_file_uploads_total{success="true"}[5m]) / rate(ivatar_file_uploads_total[5m])',
        now,
    )
    assert shares, "the documented query divides each series by itself, so each is 1"
    assert all(share == pytest.approx(1.0) for share in shares.values() if share == share)
    overall = scraper.vector(
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
    info = scraper.vector("target_info", now)
    assert ("service_name", "ivatar") in next(iter(info))


def _settled(scraper: Prometheus, page: Metrics) -> bool:
    """Whether the newest scrape shows what stands on this page."""
    name = "ivatar_requests_total"
    wanted = {labels: value for (sample, labels), value in page.items() if sample == name}
    return scraper.vector(name, time.time()) == wanted


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


def _last_scrape(scraper: Prometheus) -> float:
    """A time at which every query sees the same samples: one under way is later than that."""
    (samples,) = scraper.samples("up", time.time()).values()
    return max(when for when, _ in samples)
