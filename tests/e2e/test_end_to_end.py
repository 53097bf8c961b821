"""The main job, whole: the repository's own ``wsgi.py`` with the demo under a real gunicorn.

Concurrent clients send a repeatable mix of everything while workers come and go; then each series
on the page is held against what the clients did.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.demo_client import Clients, differences, knowable
from tests.support.demo_site import demo
from tests.support.gunicorn_server import GunicornServer, Serve, eventually, total
from tests.support.rows import MATRIX, by_default

CLIENTS = 4
REQUESTS = 780
"""Of each client, beside what registering takes: more than 3,000 in all; by default half of it."""


def disturb(server: GunicornServer, clients: Clients) -> None:
    """Reload, and change the number of workers, as long as clients send."""
    steps = [signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU]
    while clients.running:
        server.signal(steps[0])
        steps = [*steps[1:], steps[0]]
        clients.await_more(150)
        eventually(lambda: server.ready() >= set(server.workers()), what="the workers")


@pytest.mark.parametrize(("worker_class", "preload"), by_default("gthread-import", MATRIX))
def test_every_series_equals_the_clients_tally(
    serve: Serve,
    tmp_path: Path,
    memcached: str,
    outside: str,
    request: pytest.FixtureRequest,
    worker_class: str,
    preload: bool,
) -> None:
    """Whatever workers live through, each series is exactly what clients did, and no other is."""
    share = 1 if request.node.get_closest_marker("slow") else 2
    number = REQUESTS // share
    server = demo(
        serve, tmp_path, memcached, outside, worker_class=worker_class, preload_app=preload,
        max_requests=150 // share, max_requests_jitter=50 // share,
    )  # fmt: skip
    random_state = len(worker_class) + preload
    with Clients(server.request, CLIENTS, number, random_state=random_state) as clients:
        disturb(server, clients)
    expected = clients.tally().counts
    assert (
        sum(count for (name, _), count in expected.items() if name == "ivatar_requests_total")
        > CLIENTS * number
    )
    assert len(server.ready()) > 12, "the workers were not recycled"

    server.await_idle()
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
