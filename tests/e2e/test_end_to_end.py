"""The main job, whole: the repository's own ``wsgi.py`` with the demo under a real gunicorn.

Concurrent clients send a seeded mix of everything while workers come and go; then each series on
the page is held against what the clients did.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support import real_servers
from tests.support.demo_client import Clients, differences, knowable
from tests.support.gunicorn_server import APPS, GunicornServer, Serve, eventually, total
from tests.support.paths import REPOSITORY
from tests.support.stand_in import gravatar

CLIENTS = 4
REQUESTS = 780
"""Of each client, beside what registering takes: more than 3,000 in all."""

PATIENCE = "300"
"""Seconds the demo waits for what it asks. On a busy machine a worker that draws, or does not get
its turn, misses an answer that is there: a look-up that failed, where the tally foretells a hit."""


@pytest.fixture
def memcached() -> Iterator[str]:
    """A memcached of the test's own: all its workers see one cache, and it knows of no other test's
    digests, so that hits can be foretold."""
    with real_servers.memcached() as address:
        yield address


@pytest.fixture(scope="module")
def outside() -> Iterator[str]:
    """The stand-in for Gravatar."""
    with gravatar() as url:
        yield url


def demo(
    serve: Serve,
    tmp_path: Path,
    memcached: str,
    outside: str,
    env: Mapping[str, str] | None = None,
    **options: object,
) -> GunicornServer:
    """The demo server with four workers, wrapped by the repository's ``wsgi.py``."""
    return serve(
        "wsgi:application",
        workers=4,
        pythonpath=f"{REPOSITORY},{APPS}",
        env={
            "AVATAR_TELEMETRY_PROFILE": "demo_profile:PROFILE",
            "DEMO_DATA": str(tmp_path / "data"),
            "DEMO_MEMCACHED": memcached,
            "DEMO_MEMCACHED_TIMEOUT": PATIENCE,
            "DEMO_OUTSIDE_TIMEOUT": PATIENCE,
            "DEMO_GRAVATAR_URL": outside,
            "DEMO_MAX_PHOTOS": "100000",
            **(env or {}),
        },
        **options,
    )


def disturb(server: GunicornServer, clients: Clients) -> None:
    """Reload, and change the number of workers, as long as clients send."""
    steps = [signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU]
    while clients.running:
        server.signal(steps[0])
        steps = [*steps[1:], steps[0]]
        clients.await_more(150)
        eventually(lambda: server.ready() >= set(server.workers()), what="the workers")


@pytest.mark.parametrize("preload", [False, True], ids=["no-preload", "preload"])
@pytest.mark.parametrize("worker_class", ["sync", "gthread", "gevent"])
def test_every_series_equals_the_clients_tally(
    serve: Serve, tmp_path: Path, memcached: str, outside: str, worker_class: str, preload: bool
) -> None:
    """Whatever workers live through, each series is exactly what clients did, and no other is."""
    server = demo(
        serve, tmp_path, memcached, outside, worker_class=worker_class, preload_app=preload,
        max_requests=150, max_requests_jitter=50,
    )  # fmt: skip
    with Clients(server.request, CLIENTS, REQUESTS, seed=len(worker_class) + preload) as clients:
        disturb(server, clients)
    expected = clients.tally().counts
    assert (
        sum(count for (name, _), count in expected.items() if name == "ivatar_requests_total")
        > 3000
    )
    assert len(server.ready()) > 12, "the workers were not recycled"

    def settled() -> bool:
        return total(server.metrics(), "ivatar_requests_in_progress") == 0

    eventually(settled, what="the end of all requests")
    metrics = server.metrics()
    shown = knowable(metrics)
    different = differences(shown, expected)
    assert not different, f"series that differ:\n{different}\n{server.log()[-2000:]}"
    assert total(metrics, "avatar_telemetry_internal_errors_total") == 0
    assert total(metrics, "avatar_telemetry_series_refused_total") == 0
    for (name, labels), value in shown.items():
        if name.endswith("_seconds_count"):
            bucket = name.removesuffix("_count") + "_bucket"
            assert metrics[bucket, labels | {("le", "+Inf")}] == value
