"""The store of a running server: slots, forks, and hooks written for prometheus_client."""

from __future__ import annotations

import signal

from tests.support.gunicorn_server import Serve, eventually, total

MARKS_DEAD = """
from prometheus_client import multiprocess
from avatar_telemetry import gunicorn as telemetry

def child_exit(server, worker):
    multiprocess.mark_process_dead(worker.pid)
    telemetry.child_exit(server, worker)
"""


def test_the_hook_of_prometheus_client_harms_nobody(serve: Serve) -> None:
    """``mark_process_dead`` in ``child_exit`` raises nothing into the master, with the variable
    unset."""
    server = serve(hooks="on_exit, on_starting, post_fork, worker_exit", config=MARKS_DEAD)
    before = server.await_workers(2)
    server.signal(signal.SIGKILL, before[0])
    server.await_workers(2, without=before[:1])
    server.get("/avatar/abc")
    server.await_requests(1)
    assert "Traceback" not in server.log()


FORKS = """
import os, time
from prometheus_client import Counter

counted = Counter("config_things", "Counted by processes that the master forks.", ["name"])

def when_ready(server):
    counted.labels("master").inc()
    for child in range(3):
        if os.fork() == 0:
            for number in range(20):
                counted.labels(f"{child}-{number}").inc()
            open(f"child-{child}", "w").close()
            while not os.path.exists("go"):
                time.sleep(0.02)
            os._exit(0)
"""


def test_processes_that_the_master_forks(serve: Serve) -> None:
    """Each has a slot of its own, so all of them count, and none is a worker."""
    server = serve(config=FORKS)
    eventually(lambda: len(list(server.path.glob("child-*"))) == 3, what="the children")
    metrics = server.metrics()
    (server.path / "go").touch()
    assert total(metrics, "config_things_total") == 61
    assert total(metrics, "gunicorn_workers") == 2
    assert total(metrics, "avatar_telemetry_slots_in_use") == 5
    assert len([key for key in metrics if key[0] == "process_threads"]) == 3, "with the master"
    assert not list(server.runtime_folder.glob("*.corrupt"))


def test_processes_that_a_worker_forks(serve: Serve) -> None:
    """A child of the application has a slot of its own and is no worker."""
    server = serve("forking:application", workers=1)
    assert server.get("/").status == 200
    metrics = server.metrics()
    (server.path / "go").touch()
    assert total(metrics, "app_things_total", kind="child") == 1
    assert total(metrics, "gunicorn_workers") == 1
    assert total(metrics, "avatar_telemetry_slots_in_use") == 2
    assert len([key for key in metrics if key[0] == "process_threads"]) == 2, "with the master"
