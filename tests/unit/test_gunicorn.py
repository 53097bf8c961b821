"""gunicorn's hooks: what each does to the runtime, with gunicorn's objects as far as they are used.

Importing the hooks makes a process one that gunicorn drives, so each test has a child of its own.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.workers.sync import SyncWorker

from avatar_telemetry._base.errors import SettingsError
from tests.support.forked import in_child

Calls = list[list[Any]]


class FakeRuntime:
    """Remembers the calls of the hooks."""

    def __init__(self, fault: SettingsError | None = None) -> None:
        self.calls: Calls = []
        self.state = self
        self.starting: Callable[[], None] = lambda: None
        self._fault = fault

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments: self.calls.append([name, *arguments])

    def prepare(self, *arguments: int) -> None:
        self.calls.append(["prepare", *arguments])
        if self._fault is not None:
            raise self._fault

    def start_worker(self, server: Any, uid: int, gid: int, *, workers: int) -> None:
        listeners = list(server.listeners)
        self.calls.append(["start_worker", server.master, listeners, uid, gid, workers])
        self.starting()


def hooks(runtime: FakeRuntime) -> Any:
    import avatar_telemetry.gunicorn as module

    module.RUNTIME = runtime  # type: ignore[assignment]
    return module


def arbiter(**changes: Any) -> Any:
    cfg = SimpleNamespace(chdir="/some/where", uid=1, gid=2, preload_app=False)
    return SimpleNamespace(
        **{
            "cfg": cfg,
            "master_pid": 7,
            "pidfile": None,
            "worker_class": SyncWorker,
            "num_workers": 3,
        }
        | changes
    )


def worker(**changes: Any) -> Any:
    cfg = SimpleNamespace(uid=1, gid=2, preload_app=False)
    return SimpleNamespace(
        **{"cfg": cfg, "pid": os.getpid(), "sockets": ["socket"], "nr": 0} | changes
    )


def test_importing_the_hooks_manages_the_process() -> None:
    """The application's own metrics, made later, go into the merged store."""

    def work() -> Any:
        from prometheus_client import values

        before = values.ValueClass
        sys.modules.pop("avatar_telemetry.gunicorn", None)
        import avatar_telemetry.gunicorn as module

        return module.RUNTIME.state.hooks_pid == os.getpid(), values.ValueClass is before

    assert in_child(work) == [True, False]


def test_the_start_prepares_with_the_masters_configuration() -> None:
    """The profile is found where the application will be; user and group are the workers'."""

    def work() -> Any:
        runtime = FakeRuntime()
        hooks(runtime).on_starting(arbiter())
        return runtime.calls, sys.path[0]

    assert in_child(work) == [[["prepare", 7, 1, 2]], "/some/where"]


def test_a_start_that_is_refused_ends_the_master() -> None:
    """With the message of the fault, and without a pid file that names a dead process."""

    def work() -> Any:
        removed: list[str] = []
        pidfile = SimpleNamespace(unlink=lambda: removed.append("pidfile"))
        module = hooks(FakeRuntime(SettingsError("X=1: no")))
        with pytest.raises(SystemExit) as ended:
            module.on_starting(arbiter(pidfile=pidfile))
        return str(ended.value), removed, ended.value.__cause__ is None

    assert in_child(work) == [str(SettingsError("X=1: no")), ["pidfile"], True]


def test_the_module_is_a_configuration_of_gunicorn() -> None:
    """Of its names (``-c python:avatar_telemetry.gunicorn``) only the hooks are settings."""

    def work() -> Any:
        import avatar_telemetry.gunicorn as module

        return sorted(set(vars(module)) & set(Config().settings)), module.__all__

    settings, hooks = in_child(work)
    assert settings == hooks


@pytest.mark.parametrize("preload", [True, False])
def test_a_worker_starts_with_its_own_sockets_and_user(preload: bool) -> None:
    """Objects of the master are frozen unless the application is among them."""

    def work() -> Any:
        runtime = FakeRuntime()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            inode = os.fstat(listener.fileno()).st_ino
            started = worker(sockets=[listener])
            started.cfg.preload_app = preload
            before = gc.get_freeze_count()
            hooks(runtime).post_fork(arbiter(), started)
        frozen = gc.get_freeze_count() > before
        return runtime.calls == [["start_worker", os.getppid(), [inode], 1, 2, 3]], frozen

    starts, frozen = in_child(work)
    assert starts
    assert frozen is not preload


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_signal_during_the_start_ends_the_worker(number: signal.Signals) -> None:
    """The master's handlers would forget it; the worker ends when its start is through."""

    def work() -> Any:
        runtime = FakeRuntime()
        runtime.starting = lambda: os.kill(os.getpid(), number)
        before = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGQUIT)]
        with pytest.raises(SystemExit) as ended:
            hooks(runtime).post_fork(arbiter(), worker())
        after = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGQUIT)]
        return len(runtime.calls), ended.value.code, before == after

    assert in_child(work) == [1, 0, True]


def test_the_handlers_of_a_start_that_fails_are_put_back() -> None:
    """gunicorn handles the error; its own handlers are there for that."""

    def work() -> Any:
        def failing() -> None:
            raise ValueError("mine")

        runtime = FakeRuntime()
        runtime.starting = failing
        before = signal.getsignal(signal.SIGTERM)
        with pytest.raises(ValueError, match="mine"):
            hooks(runtime).post_fork(arbiter(), worker())
        return signal.getsignal(signal.SIGTERM) == before

    assert in_child(work) is True


@pytest.mark.parametrize("own", [True, False])
def test_only_a_worker_itself_ends_its_telemetry(own: bool) -> None:
    """gunicorn calls worker_exit in the master too, for a worker that is gone."""

    def work() -> Any:
        runtime = FakeRuntime()
        hooks(runtime).worker_exit(arbiter(), worker(pid=os.getpid() if own else 1))
        return runtime.calls

    assert in_child(work) == ([["stop"]] if own else [])


@pytest.mark.parametrize("served", [0, 1])
def test_a_worker_that_served_requests_checks_the_wrapping(served: int) -> None:
    """Before the first request the application may not be wrapped yet."""

    def work() -> Any:
        runtime = FakeRuntime()
        hooks(runtime).worker_exit(arbiter(), worker(nr=served))
        return runtime.calls

    assert in_child(work) == [["warn_of_unwrapped"]] * served + [["stop"]]


@pytest.mark.parametrize("by_gunicorn", [True, False])
def test_an_abort_names_the_interrupted_frame(by_gunicorn: bool) -> None:
    """The frame that gunicorn's handler interrupted, without the handler; else the hook's."""

    def work() -> Any:
        frames: list[Any] = []
        module = hooks(FakeRuntime())
        module.record_abort = lambda frame, guard: frames.append(frame)

        def handle_abort() -> None:
            module.worker_abort(worker())

        def interrupted() -> None:
            handle_abort() if by_gunicorn else module.worker_abort(worker())

        interrupted()
        return [frame.f_code.co_name for frame in frames]

    inner = "interrupted" if by_gunicorn else "_interrupted_frame"
    assert in_child(work) == [inner]


def test_the_end_of_workers_and_of_the_server() -> None:
    """The last push comes before the folder goes."""

    def work() -> Any:
        runtime = FakeRuntime()
        module = hooks(runtime)
        module.child_exit(arbiter(), worker(pid=42))
        module.on_exit(arbiter())
        return runtime.calls

    assert in_child(work) == [["child_exited", 42], ["finish"], ["release"]]
