"""gunicorn's hooks. To configure the package, import them in ``gunicorn.conf.py``.

    from avatar_telemetry.gunicorn import (  # noqa: F401
        on_starting, post_fork, worker_abort, worker_exit, child_exit, on_exit)

The import also prepares the process: prometheus_client metrics that the application creates later
are written to the merged store.

A hook of your own with the same name calls the imported one:

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
from avatar_telemetry.runtime import instrument  # noqa: F401 - for the workers' applications
from avatar_telemetry.runtime.lifecycle import RUNTIME
from avatar_telemetry.wsgi.slow_requests import record_abort

if TYPE_CHECKING:
    from types import FrameType

    from gunicorn.arbiter import Arbiter
    from gunicorn.workers.base import Worker

__all__ = ["child_exit", "on_exit", "on_starting", "post_fork", "worker_abort", "worker_exit"]

TERMINATION_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)

RUNTIME.manage()


def on_starting(server: Arbiter) -> None:
    """Check the configuration and prepare the runtime directory, before any worker starts.

    Raises:
        SystemExit: the configuration cannot be used; the message lists every fault.
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


def post_fork(server: Arbiter, worker: Worker) -> None:
    """Set up a new worker: its slot, its providers and its probes."""
    if not worker.cfg.preload_app:
        # A garbage collection writes to every object that it visits, so the pages of the master's
        # objects would be copied instead of shared. A preloaded application decides for itself.
        gc.freeze()
    with _deferred_termination():
        _patch_for_gevent(worker)
        RUNTIME.start_worker(
            Server(os.getppid(), listener_inodes(worker.sockets)), worker.cfg.uid, worker.cfg.gid,
            workers=server.num_workers,
        )  # fmt: skip


def worker_abort(worker: Worker) -> None:
    """Record the requests in progress, with their stacks, in a worker whose timeout expired."""
    record_abort(_interrupted_frame(), RUNTIME.guard)


def worker_exit(server: Arbiter, worker: Worker) -> None:
    """Stop the telemetry of a worker. gunicorn also calls this in the master for a dead worker."""
    if worker.pid == os.getpid():
        if worker.nr:  # requests served
            with logging_to(logging.getLogger("gunicorn.error")):
                RUNTIME.state.warn_of_unwrapped()
        RUNTIME.state.stop()
        # Prevents the interpreter's last garbage collection, which takes processor time from the
        # next worker. The kernel frees the memory.
        gc.freeze()


def child_exit(server: Arbiter, worker: Worker) -> None:
    """Clean up after a dead worker, in the master."""
    RUNTIME.state.child_exited(worker.pid)


def on_exit(server: Arbiter) -> None:
    """Finish the export and release the runtime directory, at the end of the master."""
    RUNTIME.state.finish()
    RUNTIME.release()


@contextmanager
def _deferred_termination() -> Iterator[None]:
    """Record termination signals during the block, and exit after it.

    Until a worker has booted it has the handlers of its master, which lose such a signal: the
    master would wait for this worker for the whole ``graceful_timeout``.

    Raises:
        SystemExit: a termination signal was received.
    """
    received: list[int] = []
    before = {
        each: signal.signal(each, lambda number, frame: received.append(number))
        for each in TERMINATION_SIGNALS
    }
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    if received:
        raise SystemExit(0)


def _interrupted_frame() -> FrameType | None:
    """Return the frame that SIGABRT interrupted: the caller of gunicorn's signal handler, else the
    frame of this function."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_name != "handle_abort":
        frame = frame.f_back
    return sys._getframe() if frame is None else frame.f_back


def _patch_for_gevent(worker: Worker) -> None:
    """Patch the standard library before gevent's worker does it: threads of this package that start
    before the patch would not be greenlets."""
    if _uses_gevent(type(worker)):
        from gevent import monkey

        monkey.patch_all()


def _uses_gevent(worker_class: type) -> bool:
    """Return whether workers of this class patch the standard library after the fork."""
    return any(base.__module__ == "gunicorn.workers.ggevent" for base in worker_class.__mro__)
