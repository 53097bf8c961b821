"""A real Prometheus scrapes the demo server; the documented queries return what they describe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.demo_client import Clients, Series, await_tally, comparable
from tests.support.demo_site import demo
from tests.support.gunicorn_server import GunicornServer, Metrics, Serve, eventually
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
    with Clients(server.request, 2, 150, random_state=7) as first:
        pass  # a counter's first value is no increase to Prometheus: let all series exist before
    scraper = scrape(server._address.removeprefix("http://"))
    expected = first.tally().counts
    _settle(server, scraper, expected)
    with Clients(server.request, 2, 150, random_state=8) as second:
        pass
    expected.update(second.tally().counts)
    page = _settle(server, scraper, expected)
    now = _last_scrape(scraper)

    def rates(name: str) -> dict[Labels, float]:
        """Those of a counter from its first scrape to what it is now."""
        found = scraper.samples(name, now).items()
        return {
            key[1]: _extrapolated_rate(samples, page[key] - samples[0][1], now)
            for key, samples in comparable({(name, labels): each for labels, each in found}).items()
            if len(samples) > 1
        }

    made = rates("ivatar_avatars_generated_total")
    assert scraper.vector("rate(ivatar_avatars_generated_total[5m])", now) == pytest.approx(made)

    ratios = scraper.vector(
        "rate(ivatar_avatar_cache_hits_total[5m]) / (rate(ivatar_avatar_cache_hits_total[5m])"
        " + rate(ivatar_avatar_cache_misses_total[5m]))",
        now,
    )
    hits, misses = (rates(f"ivatar_avatar_cache_{kind}_total") for kind in ("hits", "misses"))
    wanted = {
        labels: hits[labels] / (hits[labels] + misses[labels])
        for labels in hits.keys() & misses.keys()
        if hits[labels] + misses[labels]
    }
    assert len(wanted) >= 3
    assert _numbers(ratios) == pytest.approx(wanted)

    quantiles = scraper.vector(
        "histogram_quantile(0.95, rate(ivatar_avatar_generation_seconds_bucket[5m]))", now
    )
    buckets = rates("ivatar_avatar_generation_seconds_bucket")
    for labels in (frozenset({("format", "png"), ("source", "generated")}),
                   frozenset({("format", "jpg"), ("source", "uploaded")})):  # fmt: skip
        assert quantiles[labels] == pytest.approx(_quantile(0.95, labels, buckets))

    shares = scraper.vector(
        'rate(ivatar_file_uploads_total{success="true"}[5m]) / rate(ivatar_file_uploads_total[5m])',
        now,
    )
    assert shares, "the documented query divides each series by itself, so each is 1"
    assert set(_numbers(shares).values()) == {1.0}
    overall = scraper.vector(
        'sum(rate(ivatar_file_uploads_total{success="true"}[5m]))'
        " / sum(rate(ivatar_file_uploads_total[5m]))",
        now,
    )
    uploads = rates("ivatar_file_uploads_total")
    good = sum(rate for labels, rate in uploads.items() if ("success", "true") in labels)
    assert list(overall.values()) == [pytest.approx(good / sum(uploads.values()))]
    info = scraper.vector("target_info", now)
    assert ("service_name", "ivatar") in next(iter(info))


def _settle(server: GunicornServer, scraper: Prometheus, expected: dict[Series, float]) -> Metrics:
    """Wait until the page has what the clients did, and the newest scrape has the page."""
    page = await_tally(server.metrics, expected)
    page = {key: value for key, value in page.items() if key[0].startswith("ivatar_")}
    selector = '{__name__=~"ivatar_.+"}'
    eventually(lambda: comparable(scraper.series(selector)) == page, what="its scrape")
    return page


def _numbers(vector: dict[Labels, float]) -> dict[Labels, float]:
    """The values without those of nothing divided by nothing."""
    return {labels: value for labels, value in vector.items() if value == value}


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


def _quantile(share: float, labels: Labels, rates: dict[Labels, float]) -> float:
    """The same interpolation within a bucket that Prometheus makes, from the buckets' rates."""
    buckets = sorted(
        (float(dict(have)["le"]), rate) for have, rate in rates.items() if labels < have
    )
    rank = share * buckets[-1][1]
    lower, below = 0.0, 0.0
    for bound, count in buckets[:-1]:
        if count >= rank:
            return lower + (bound - lower) * (rank - below) / (count - below)
        lower, below = bound, count
    return lower


def _last_scrape(scraper: Prometheus) -> float:
    """The time of the last scrape that succeeded: one under way, or that fails, is later."""
    (samples,) = scraper.samples("up").values()
    return max(when for when, up in samples if up)
