"""Metrics of the OpenTelemetry API under a real gunicorn: merged, on the page, without the SDK."""

from __future__ import annotations

import signal

import pytest

from tests.support.gunicorn_server import GunicornServer, Serve, eventually, lock_holders
from tests.support.privileges import DROP, IMPORT_EARLY, NOBODY
from tests.support.rows import MATRIX, PRELOAD, by_default

SOON = {"OTEL_METRIC_EXPORT_INTERVAL": "100"}
SCOPE = {"otel_scope_name": "shop", "otel_scope_version": "1.0"}
CHILDREN = """
import os

def post_worker_init(worker):
    from metered import CALLS
    child = os.fork()
    if child == 0:
        CALLS.add(1, {"path": "child"})
        os._exit(0)
    os.waitpid(child, 0)
"""
OWN_PROVIDER = """
def post_worker_init(worker):
    from opentelemetry import metrics
    worker.log.info("provider: %s", type(metrics.get_meter_provider()).__name__)
"""


def observer(server: GunicornServer) -> int:
    """Wait until one process asks the callbacks and has reported; its pid."""

    def found() -> int | None:
        pids = lock_holders(server.runtime_folder / "observer.lock")
        assert len(pids) <= 1
        reported = server.metrics().get(("shop_observer", frozenset(SCOPE.items())))
        return pids[0] if pids and reported == pids[0] else None

    return eventually(found, what="an observer") or 0


def send(server: GunicornServer, number: int) -> list[int]:
    """Send so many requests; the processes that served them."""
    return [int(server.get("/a").text) for _ in range(number)]


@pytest.mark.parametrize(("worker_class", "preload"), by_default("sync-import", MATRIX))
def test_merged_on_the_page(serve: Serve, worker_class: str, preload: bool) -> None:
    """With the export off, all that workers record is on the page once, whoever made it."""
    server = serve(
        "metered:application", env=SOON, workers=2, worker_class=worker_class, preload_app=preload
    )
    served = send(server, 20)
    page = server.metrics()

    def value(sample: str, **labels: str) -> float | None:
        return page.get((sample, frozenset({**SCOPE, **labels}.items())))

    assert value("shop_calls_total", path="/a") == 20
    assert value("shop_served") == 20
    assert value("shop_newest") == served[-1]
    assert [value("shop_sizes_bytes_bucket", le=le) for le in ("10.0", "100.0", "+Inf")] == [
        0, 20, 20,
    ]  # fmt: skip
    assert value("shop_sizes_bytes_sum") == 1000
    assert observer(server) in server.workers()
    eventually(lambda: server.value("shop_sold_total", of="pens", **SCOPE) == 10)
    assert server.value("avatar_telemetry_internal_errors_total") == 0


def test_killed_observer(serve: Serve) -> None:
    """The counts of a killed worker stay; another one observes, and no total counts twice."""
    server = serve("metered:application", env=SOON, workers=2)
    send(server, 10)
    dead = observer(server)
    server.signal(signal.SIGKILL, dead)
    server.await_workers(2, without=[dead])
    assert observer(server) != dead
    send(server, 10)
    assert server.value("shop_calls_total", path="/a", **SCOPE) == 20
    assert server.value("shop_sold_total") == 10


@pytest.mark.parametrize("preload", by_default("preload", PRELOAD))
def test_children_of_workers(serve: Serve, preload: bool) -> None:
    """What a child that a worker forks counts is on the page; it does not observe."""
    server = serve("metered:application", env=SOON, workers=2, preload_app=preload, config=CHILDREN)
    assert server.value("shop_calls_total", path="child") == 2
    assert observer(server) in server.workers()


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("preload", by_default("import", PRELOAD))
def test_dropped_workers(serve: Serve, preload: bool) -> None:
    """Workers that root has started as another user record and observe as that user."""
    server = serve(
        "metered:application", env=SOON, workers=2, preload_app=preload, config=IMPORT_EARLY, **DROP
    )
    send(server, 4)
    assert server.value("shop_calls_total", path="/a") == 4
    assert observer(server) in server.workers()
    assert (server.runtime_folder / "observer.lock").stat().st_uid == NOBODY.pw_uid
    assert server.value("avatar_telemetry_internal_errors_total") == 0


def test_provider_of_the_application(serve: Serve) -> None:
    """An application that sets its provider before the worker starts keeps it."""
    server = serve(
        "avatars:application", workers=1, preload_app=True,
        config="from opentelemetry import metrics\n"
        "metrics.set_meter_provider(metrics.NoOpMeterProvider())\n" + OWN_PROVIDER,
    )  # fmt: skip
    assert "provider: NoOpMeterProvider" in server.log()


def test_switched_off(serve: Serve) -> None:
    """With the SDK disabled nothing of the API is recorded."""
    server = serve(
        "metered:application", env={"OTEL_SDK_DISABLED": "true"}, workers=1, config=OWN_PROVIDER
    )
    assert server.get("/").status == 200
    assert "provider: StoredMeterProvider" not in server.log()
    assert "provider: " in server.log()
