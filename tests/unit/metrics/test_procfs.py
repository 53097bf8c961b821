"""A process as the kernel shows it in ``/proc``."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from avatar_telemetry.metrics import procfs as process
from tests.support.waiting import eventually

NOBODY = 1 << 30
"""A pid that no system gives (PID_MAX_LIMIT of linux/threads.h is smaller)."""
WAITING = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 128))
with open("/proc/self/comm", "w") as comm:
    comm.write("a) Z (b) 1 2")
print(flush=True)
sys.stdin.read()
"""


def is_waiting(pid: int) -> bool:
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        return file.read().rpartition(") ")[2].startswith("S")


@pytest.fixture
def child() -> Iterator[int]:
    """A process with a hostile name that does nothing."""
    with subprocess.Popen(
        [sys.executable, "-c", WAITING], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as started:
        assert started.stdout is not None
        started.stdout.readline()
        eventually(lambda: is_waiting(started.pid), "the end of its work")
        yield started.pid
        started.communicate()


def test_stat_of_a_process(child: int) -> None:
    """Whatever the name of a process holds, its numbers are read from their places."""
    stat = process.read_stat(child)
    assert stat is not None
    assert (stat.threads, stat.zombie, stat.children_cpu_ticks) == (1, False, 0)
    with open(f"/proc/{child}/statm", encoding="ascii") as file:
        virtual, resident = map(int, file.read().split()[:2])
    assert stat.virtual == virtual * process.PAGE_SIZE
    assert 0.5 < stat.resident / (resident * process.PAGE_SIZE) < 2
    assert stat.start_ticks == process.start_ticks(child) > 0
    assert process.boot_time() < process.start_time(stat) <= time.time() + 1


def test_open_files_and_their_limit(child: int) -> None:
    """Open descriptors are counted; the limit is the soft one."""
    assert process.count_open_files(child) == 3
    assert process.max_open_files(child) == 64.0


def test_times_of_children() -> None:
    """A process has the time of the children that it has waited for."""
    before = process.read_stat(os.getpid())
    burn = f"import time\nwhile time.process_time() < {5 / process.TICKS_PER_SECOND}: pass"
    subprocess.run([sys.executable, "-c", burn], check=True)
    after = process.read_stat(os.getpid())
    assert before is not None and after is not None
    assert after.children_cpu_ticks >= before.children_cpu_ticks + 3
    assert after.cpu_ticks >= before.cpu_ticks > 0


def test_no_such_process() -> None:
    """Of a process that does not exist nothing is known."""
    assert process.read_stat(NOBODY) is None
    assert process.start_ticks(NOBODY) == 0
    assert process.count_open_files(NOBODY) is None
    assert process.max_open_files(NOBODY) is None
    assert not process.is_alive(NOBODY, 0)


def test_living_process(child: int) -> None:
    """A process is the same one only with the same start; a start of 0 is unknown."""
    started = process.start_ticks(child)
    assert process.is_alive(child, started)
    assert process.is_alive(child, 0)
    assert not process.is_alive(child, started + 1)


def test_zombie_is_dead() -> None:
    """A process that has ended is dead before its parent has waited for it."""
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        stat = process.read_stat(ended.pid)
        assert stat is not None and stat.zombie
        assert not process.is_alive(ended.pid, 0)
        assert not process.is_alive(ended.pid, stat.start_ticks)


@pytest.mark.parametrize(
    ("answer", "alive"),
    [
        pytest.param(None, True, id="mine"),
        pytest.param(ProcessLookupError, False, id="none"),
        pytest.param(PermissionError, True, id="another user's"),
    ],
)
def test_without_proc(
    monkeypatch: pytest.MonkeyPatch, answer: type[OSError] | None, alive: bool
) -> None:
    """Where there is no ``/proc`` a signal that is not sent tells whether a process lives."""

    def kill(pid: int, number: int) -> None:
        assert (pid, number) == (NOBODY, 0)
        if answer is not None:
            raise answer

    monkeypatch.setattr(os.path, "exists", lambda path: False)
    monkeypatch.setattr(os, "kill", kill)
    assert process.is_alive(NOBODY, 1) is alive
