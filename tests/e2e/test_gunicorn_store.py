"""The store of a running server: slots, forks, and hooks that were written for prometheus_client."""

from __future__ import annotations

import signal

from tests.support.gunicorn_server import Serve, eventually

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


def test_an_upgrade_after_a_reload_keeps_the_private_folder(serve: Serve) -> None:
    """The next master takes the path in the old one's environment for no setting of the operator:
    the folder goes with the last master."""
    server = serve()
    before = server.await_workers(2)
    folder = server.runtime_folder
    server.signal(signal.SIGHUP)
    server.await_workers(2, without=before)
    (old,) = server.masters()
    server.signal(signal.SIGUSR2, old)
    eventually(lambda: len(server.masters()) == 2, what="the second master")
    server.await_workers(4)
    server.signal(signal.SIGTERM, old)
    assert server.wait() == 0
    assert server.runtime_folder == folder
    (new,) = server.masters()
    server.signal(signal.SIGTERM, new)
    eventually(lambda: not server.everybody(), what="the end of the second master")
    assert not folder.exists()
