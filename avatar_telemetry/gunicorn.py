"""gunicorn's hooks: import them in ``gunicorn.conf.py``, which is all the configuration there is.

    from avatar_telemetry.gunicorn import (  # noqa: F401
        on_starting, post_fork, worker_exit, child_exit, on_exit)

Importing this module makes the process one that gunicorn drives: the application's own
prometheus_client metrics, imported later, go into the merged store.

A hook of your own with the same name calls ours:

    from avatar_telemetry import gunicorn as telemetry

    def post_fork(server, worker):
        telemetry.post_fork(server, worker)
        ...
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from avatar_telemetry._base.errors import SettingsError
from avatar_telemetry._base.log import logging_to
from avatar_telemetry.metrics.collector import Server
from avatar_telemetry.metrics.procfs import listener_inodes
from avatar_telemetry.runtime.lifecycle import RUNTIME

if TYPE_CHECKING:
    from gunicorn.arbiter import Arbiter
    from gunicorn.workers.base import Worker

__all__ = ["child_exit", "on_exit", "on_starting", "post_fork", "worker_exit"]

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)

RUNTIME.manage()


def on_starting(server: Arbiter) -> None:
    """Before any worker: check the configuration, take the runtime folder.

    Raises:
        SystemExit: the configuration cannot be used; the message names every fault.
    """
    if server.cfg.chdir not in sys.path:
        sys.path.insert(0, server.cfg.chdir)  # as gunicorn does before it loads the application
    try:
        with logging_to(logging.getLogger("gunicorn.error")):
            RUNTIME.prepare(server.master_pid, server.cfg.uid, server.cfg.gid)
    except SettingsError as error:
        if server.pidfile is not None:
            server.pidfile.unlink()
        raise SystemExit(str(error)) from None
    if server.cfg.preload_app and not _is_green(server.worker_class):
        RUNTIME.warm_up()


def post_fork(server: Arbiter, worker: Worker) -> None:
    """In a new worker: its slot, its providers, its probes."""
    if not worker.cfg.preload_app:
        # A collection writes into every object that it looks at. Those of the master, which are
        # gunicorn's and ours, would be copied page by page instead of shared. The application's
        # own are its own matter.
        gc.freeze()
    with _ending_by_signal():
        _patch_as_gevent_will(worker)
        RUNTIME.start_worker(
            Server(os.getppid(), listener_inodes(worker.sockets)), worker.cfg.uid, worker.cfg.gid,
            workers=server.num_workers,
        )  # fmt: skip


def worker_exit(server: Arbiter, worker: Worker) -> None:
    """In a worker that ends. gunicorn calls it in the master, too, for one that was gone."""
    if worker.pid == os.getpid():
        RUNTIME.stop_worker()
        # The end of the interpreter collects garbage, while the next worker waits for the
        # processor. The kernel frees all of it at once.
        gc.freeze()


def child_exit(server: Arbiter, worker: Worker) -> None:
    """In the master, when a worker has ended."""
    RUNTIME.child_exited(worker.pid)


def on_exit(server: Arbiter) -> None:
    """In the master, at its end."""
    RUNTIME.finish()
    RUNTIME.release()


@contextmanager
def _ending_by_signal() -> Iterator[None]:
    """Until a worker has booted its handlers are its master's, which forget a signal to end; the
    master would wait for this worker as long as ``graceful_timeout``. Here none is lost.

    Raises:
        SystemExit: one came.
    """
    received: list[int] = []
    before = {
        each: signal.signal(each, lambda number, frame: received.append(number)) for each in ENDING
    }
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    if received:
        raise SystemExit(0)


def _patch_as_gevent_will(worker: Worker) -> None:
    """gevent's worker patches the standard library a moment later; threads of ours that start
    before would not be its own."""
    if _is_green(type(worker)):
        from gevent import monkey

        monkey.patch_all()


def _is_green(worker_class: type) -> bool:
    """Whether such workers patch the standard library after the fork."""
    return any(base.__module__ == "gunicorn.workers.ggevent" for base in worker_class.__mro__)
