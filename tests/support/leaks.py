"""Fail a test that leaves something open: descriptors, threads, child processes, runtime folders.

A snapshot before and after each test costs well under a millisecond. Only where they differ is
garbage collected, and is there a bounded wait for threads and processes that are about to end.
What a fixture of a wider scope opens in its set-up is not counted to the test that it is set up in.
"""

from __future__ import annotations

import gc
import io
import os
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
import warnings
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.descriptors import open_files
from tests.support.gunicorn_server import SHARED_MEMORY, recorded_masters
from tests.support.waiting import PATIENCE

PERMANENT = (
    # The event loops of gevent and gRPC live as long as their thread or process.
    "anon_inode:[eventpoll]",
    "anon_inode:[eventfd]",
    "anon_inode:[timerfd]",
)


@dataclass(frozen=True)
class Snapshot:
    """The open resources at one moment."""

    descriptors: frozenset[tuple[int, str]] = frozenset()
    threads: frozenset[threading.Thread] = frozenset()
    children: frozenset[int] = frozenset()
    folders: frozenset[Path] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.descriptors or self.threads or self.children or self.folders)

    def __sub__(self, other: Snapshot) -> Snapshot:
        return Snapshot(
            self.descriptors - other.descriptors,
            self.threads - other.threads,
            self.children - other.children,
            self.folders - other.folders,
        )

    def __or__(self, other: Snapshot) -> Snapshot:
        return Snapshot(
            self.descriptors | other.descriptors,
            self.threads | other.threads,
            self.children | other.children,
            self.folders | other.folders,
        )


class LeakCheck:
    """A plugin of pytest that compares what is open before and after each test.

    Args:
        patience: seconds that a thread or a process that was asked to end may take.
    """

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._before = Snapshot()
        self._failed = False
        self._started: set[int] = set()

    def pytest_configure(self) -> None:
        """Note the processes that are started: a runtime folder names its master by pid."""
        original = subprocess.Popen.__init__

        def noting(process: subprocess.Popen[Any], *args: Any, **options: Any) -> None:
            original(process, *args, **options)
            self._started.add(process.pid)

        subprocess.Popen.__init__ = noting  # type: ignore[method-assign]

    def pytest_collection_finish(self) -> None:
        """Spare later collections the objects that the imports made."""
        gc.collect()
        gc.freeze()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self) -> Generator[None, None, None]:
        self._failed = False
        self._started.clear()
        self._before = _snapshot()
        yield

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any]
    ) -> Generator[None, object, object]:
        if fixturedef.scope == "function":
            return (yield)
        before = _snapshot()
        result = yield
        self._before |= _snapshot() - before
        return result

    def pytest_runtest_makereport(self, call: pytest.CallInfo[None]) -> None:
        self._failed |= call.excinfo is not None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, None, None]:
        yield
        if self._failed:  # its traceback holds what the test has opened
            return
        if isinstance(item, pytest.Function):
            item.funcargs.clear()  # pytest does so itself after this hook
        if left := self._left():
            pytest.fail("left open:\n" + "\n".join(left), pytrace=False)

    def _left(self) -> list[str]:
        complaints = []
        for generation in (1, 2):  # that of the last test alone takes a hundredth of the time
            if not self._new():
                return complaints
            complaints += _collect_garbage(generation)
        end = time.monotonic() + self._patience
        while (found := self._new()) and time.monotonic() < end:
            time.sleep(0.01)
        return complaints + _described(found)

    def _new(self) -> Snapshot:
        """The resources opened since. Of the new runtime folders those whose master is
        this process or one that it started: other test processes make theirs meanwhile."""
        found = _snapshot() - self._before
        ours = self._started | {os.getpid()}
        folders = (path for path in found.folders if ours & set(recorded_masters(path)))
        return replace(found, folders=frozenset(folders))


def _snapshot() -> Snapshot:
    names = [name for name in os.listdir(SHARED_MEMORY) if name.startswith("avatar-telemetry-")]
    folders = frozenset(SHARED_MEMORY / name for name in names)
    return Snapshot(_descriptors(), frozenset(threading.enumerate()), _children(), folders)


def _descriptors() -> frozenset[tuple[int, str]]:
    """The descriptors of this process and what each stands for."""
    return frozenset(
        (number, target.removesuffix(" (deleted)"))
        for number, target in open_files().items()
        if target not in PERMANENT
    )


def _children() -> frozenset[int]:
    """The processes that this one has not waited for, whether they run or not."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # most tests have none, and the files below are slow
        return frozenset()
    found = set()
    for task in os.listdir("/proc/self/task"):
        try:
            found.update(Path(f"/proc/self/task/{task}/children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):  # the thread has just ended
            continue
    return frozenset(map(int, found))


def _collect_garbage(generation: int) -> list[str]:
    """Collect garbage, and return what its finalizers reported: unclosed files and sockets."""
    reported: list[str] = []

    def report(unraisable: sys.UnraisableHookArgs) -> None:
        reported.append(f"{unraisable.exc_value!r}{_opened_at(unraisable.object)}")

    previous, sys.unraisablehook = sys.unraisablehook, report
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", ResourceWarning)
            gc.collect(generation)
    finally:
        sys.unraisablehook = previous
    return reported


def _described(found: Snapshot) -> list[str]:
    holders = _holders() if found.descriptors else {}
    lines = []
    for number, target in sorted(found.descriptors):
        holder = holders.get(number)
        by = f", held by {holder!r}{_opened_at(holder)}" if holder is not None else ""
        lines.append(f"descriptor {number} ({target}){by}")
    lines += [f"thread {thread!r}" for thread in found.threads]
    lines += [f"child process {pid} ({_command_line(pid)})" for pid in sorted(found.children)]
    lines += [f"runtime folder {path}" for path in sorted(found.folders)]
    return lines


def _holders() -> dict[int, Any]:
    """The Python objects that hold descriptors."""
    holders = {}
    for each in gc.get_objects():
        if issubclass(type(each), (socket.socket, io.FileIO)):  # isinstance asks proxies, too
            try:
                holders[each.fileno()] = each
            except ValueError:  # closed
                continue
    return holders


def _opened_at(holder: object) -> str:
    """The place where an object was made, known with ``python -X tracemalloc=10``."""
    made = tracemalloc.get_object_traceback(holder)
    return "" if made is None else "\n  " + "\n  ".join(made.format())


def _command_line(pid: int) -> str:
    """The command line of a child; one that has not begun its program is waited for."""
    folder = Path("/proc", str(pid))
    with suppress(FileNotFoundError, ProcessLookupError):
        while (folder / "stat").read_text().rpartition(") ")[2][0] not in "ZX":
            if line := (folder / "cmdline").read_bytes():
                return line.replace(b"\0", b" ").decode(errors="replace").strip()
            time.sleep(0.001)
    return "ended, not waited for"
