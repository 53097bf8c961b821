"""Starting an exporter, seeing that it runs, and waiting for its end."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from avatar_telemetry.exporter import launch
from avatar_telemetry.exporter.launch import (
    MAX_PAUSE,
    Supervisor,
    command,
    is_python,
    spawn,
)
from avatar_telemetry.exporter.record import early_ends, read_record, record_start, write_record
from avatar_telemetry.exporter.service import Exporter
from avatar_telemetry.metrics.slots import EXPORTER_LOCK
from tests.support.clock import PauseClock
from tests.support.descriptors import open_below
from tests.support.exporters import USER, Host, exporting
from tests.support.forked import in_child
from tests.support.otlp_fixtures import sink
from tests.support.otlp_sink import OtlpSink
from tests.support.waiting import DEADLINE, eventually

__all__ = ["sink"]


class Launcher:
    """A process that keeps an exporter of its folder running, by default in a thread."""

    def __init__(self, folder: Path) -> None:
        self.host = Host(folder)
        self._made: list[Supervisor] = []

    def supervisor(self, kind: str = "thread", master: int = 0, **environ: str) -> Supervisor:
        host = self.host
        host.environ |= {"AVATAR_TELEMETRY_EXPORTER": kind, **environ}
        record = host.record(master=master)
        self._made.append(Supervisor(host.folder, host.settings, record, USER, host.guard))
        return self._made[-1]

    def finish(self, deadline: float, **environ: str) -> bool:
        """End the server, as its master does."""
        return self.supervisor(**environ).finish(deadline)

    def close(self) -> None:
        for supervisor in self._made:
            end(supervisor)
        eventually(
            lambda: not [each for each in threading.enumerate() if "avatar-tel" in each.name],
            "the end of the threads",
        )
        self.host.close()


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Launcher]:
    launcher = Launcher(tmp_path)
    yield launcher
    launcher.close()
    assert open_below(tmp_path) == []


def end(supervisor: Supervisor) -> None:
    """End the exporter's thread, where there is one."""
    supervisor.stop(time.monotonic() + DEADLINE)
    assert supervisor._hosted is None or not supervisor._hosted.is_alive()


def spans_to(sink: OtlpSink) -> dict[str, str]:
    return exporting(sink, OTEL_METRICS_EXPORTER="none")


def test_command_line() -> None:
    """``ps`` shows what it is and for which folder."""
    arguments = command("/run/x", 5, 1, 2, "detach")
    assert arguments[:3] == [sys.executable, "-I", "-S"]
    assert Path(arguments[3]).name == "bootstrap.py"
    assert arguments[4:] == ["avatar-telemetry", "exporter", "/run/x", "5", "1", "2", "detach"]


@pytest.mark.parametrize(
    ("executable", "expected"),
    [
        pytest.param(sys.executable, True, id="this one"),
        pytest.param("/usr/sbin/uwsgi", False, id="uWSGI"),
        pytest.param("/bin/sh", False, id="another program"),
        pytest.param("", False, id="empty"),
        pytest.param(None, False, id="unknown"),
    ],
)
def test_interpreter(executable: str | None, expected: bool) -> None:
    """``sys.executable`` is the server's own program in some servers."""
    assert is_python(executable) is expected


def test_exporter_in_a_thread(launcher: Launcher, sink: OtlpSink) -> None:
    """It sends what the process records, and at the end what is left."""
    supervisor = launcher.supervisor(**spans_to(sink))
    supervisor.start()
    launcher.host.worker.write("a")
    eventually(lambda: sink.spans(), "the span")
    assert not launcher.host.is_free()
    launcher.host.worker.write("last")
    end(supervisor)
    assert [span.name for span in sink.spans()] == ["a", "last"]
    assert launcher.host.is_free()
    assert launcher.host.failures == []


def test_one_exporter_for_all(launcher: Launcher, tmp_path: Path) -> None:
    """A second process of the folder starts none, until the first one ends."""
    first, second = launcher.supervisor(), launcher.supervisor()
    first.start()
    second.start()
    for each in (first, second):
        each.check()
    assert second._hosted is None
    end(first)
    second.check()
    assert second._hosted is not None
    assert open_below(tmp_path).count(EXPORTER_LOCK) == 1


def test_record_that_cannot_be_read_is_replaced(launcher: Launcher) -> None:
    """An exporter is started with a record that it can read."""
    supervisor = launcher.supervisor()
    (launcher.host.folder / "exporter.json").write_bytes(b"garbage")
    supervisor.check()
    assert read_record(launcher.host.folder) is not None


def test_settings_of_before_a_reload_start_no_thread(launcher: Launcher) -> None:
    """A worker of the settings of now hosts it; the lock stays free for that one."""
    old = launcher.supervisor(OTEL_SERVICE_NAME="old")
    new = launcher.supervisor(OTEL_SERVICE_NAME="new")
    write_record(launcher.host.folder, launcher.host.record())
    for _ in range(2):
        old.check()
        assert launcher.host.is_free()
    new.check()
    assert not launcher.host.is_free()


def test_lock_after_a_thread_that_ended(launcher: Launcher, tmp_path: Path) -> None:
    """The descriptor of an exporter that ended is nobody's: the next one is closed all the same."""
    supervisor = launcher.supervisor(OTEL_SERVICE_NAME="old")
    supervisor.start()
    end(supervisor)
    write_record(launcher.host.folder, launcher.host.record(OTEL_SERVICE_NAME="new"))
    supervisor.check()
    assert launcher.host.is_free()
    assert EXPORTER_LOCK not in open_below(tmp_path)


def test_thread_that_cannot_be_started(
    launcher: Launcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing stays open, and another attempt is made by whoever looks next."""

    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    supervisor = launcher.supervisor()
    with monkeypatch.context() as limited:
        limited.setattr(threading.Thread, "start", fail)
        before = open_below(tmp_path)
        supervisor.start()
        assert launcher.host.failures == ["exporter"]
        assert launcher.host.is_free()
        assert open_below(tmp_path) == before
    supervisor.check()
    assert not launcher.host.is_free()


def test_forked_child(launcher: Launcher, tmp_path: Path) -> None:
    """It closes its copy of the lock, and none of another file that has that number now."""
    supervisor = launcher.supervisor()
    supervisor.start()

    def work() -> list[str]:
        supervisor.forget()
        supervisor.stop(time.monotonic())
        return open_below(tmp_path)

    assert EXPORTER_LOCK not in in_child(work)
    hosted = supervisor._hosted
    assert hosted is not None
    number = hosted.lock
    end(supervisor)
    null = os.open(os.devnull, os.O_RDONLY)
    if null != number:
        os.dup2(null, number)
        os.close(null)

    def work_later() -> bool:
        supervisor.forget()
        os.fstat(number)
        return True

    assert in_child(work_later)
    os.close(number)


@pytest.mark.parametrize("kind", ["auto", "process"])
def test_without_an_interpreter(
    launcher: Launcher, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """``auto`` hosts the exporter in a thread and says so once; ``process`` reports a failure."""
    monkeypatch.setattr(sys, "executable", "/usr/sbin/uwsgi")
    host, supervisor = launcher.host, launcher.supervisor(kind, os.getpid())
    supervisor.start()
    assert (supervisor._hosted is not None) is (kind == "auto")
    assert host.failures == ([] if kind == "auto" else ["exporter"])
    assert host.is_free() is (kind == "process")
    lines = [each for each in caplog.messages if "AVATAR_TELEMETRY_EXPORTER" in each]
    assert len(lines) == (1 if kind == "auto" else 0)
    with pytest.raises(OSError, match="not a Python interpreter"):
        spawn(host.folder, 0, {}, *USER)


def test_exit_status_that_is_lost(launcher: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """An application that ignores SIGCHLD gets one exporter, not a thread beside the process."""
    monkeypatch.setattr(launch, "command", lambda *args: [sys.executable, "-I", "-S", "-c", ""])

    def start() -> bool:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        supervisor = launcher.supervisor("auto", os.getpid())
        supervisor.start()
        return supervisor._hosted is None

    assert in_child(start)


def test_process_that_ends_early(launcher: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """Starts are spaced; after some of them a thread does the work."""
    started: list[int] = []
    age = PauseClock(0.0)
    monkeypatch.setattr(launch, "spawn", lambda *args: started.append(1))
    monkeypatch.setattr(launch, "early_ends", lambda lock: (early_ends(lock)[0], age.now))
    supervisor = launcher.supervisor("auto", os.getpid())
    for age.now, starts, hosted in (
        (0.0, 1, False),
        (0.0, 2, False),  # the first one may have been killed: no reason to wait
        (0.9, 2, False),
        (1.0, 3, False),
        (2.9, 3, False),
        (3.0, 3, True),
    ):
        supervisor.check()
        assert (len(started), supervisor._hosted is not None) == (starts, hosted)


@pytest.mark.parametrize("content", [b"9" * 16, b"-1", b"x", b"\xff" * 16, b""])
def test_odd_content_of_the_lock(launcher: Launcher, content: bytes) -> None:
    """It costs no start."""
    (launcher.host.folder / EXPORTER_LOCK).write_bytes(content)
    lock = launcher.host.lock()
    ends, age = early_ends(lock)
    assert 0 <= ends <= 99
    assert age >= 0
    record_start(lock, 7)
    assert early_ends(lock)[0] == 7
    os.close(lock)
    (launcher.host.folder / EXPORTER_LOCK).write_bytes(content)
    launcher.supervisor().start()
    assert launcher.host.failures == []
    assert not launcher.host.is_free()


def test_clock_that_was_set_back(launcher: Launcher) -> None:
    """The next start does not wait until the clock shows the time of the last one again."""
    lock = launcher.host.lock()
    record_start(lock, 2)
    later = time.time() + 3600
    os.utime(lock, (later, later))
    _, age = early_ends(lock)
    assert age > MAX_PAUSE
    os.close(lock)


def test_folder_that_is_gone(launcher: Launcher) -> None:
    """A start is a counted failure; a check reports it to its caller."""
    launcher.host.folder = launcher.host.folder / "gone"
    supervisor = launcher.supervisor()
    supervisor.start()
    assert launcher.host.failures == ["exporter"]
    with pytest.raises(OSError):
        supervisor.check()
    launcher.host.folder = launcher.host.folder.parent


def test_finish_sends_what_is_left(launcher: Launcher, sink: OtlpSink) -> None:
    """Where no exporter runs at the end of the server the master does its work."""
    launcher.host.worker.write("last")
    assert launcher.finish(time.monotonic() + DEADLINE, **spans_to(sink))
    assert [span.name for span in sink.spans()] == ["last"]
    assert launcher.host.is_free()


def test_finish_waits_for_the_exporter(launcher: Launcher, sink: OtlpSink) -> None:
    """It sets the end of the one that runs, and returns when that has sent everything."""
    launcher.supervisor(OTEL_BSP_SCHEDULE_DELAY="600000", **spans_to(sink)).start()
    launcher.host.worker.write("last")
    assert launcher.finish(time.monotonic() + DEADLINE)
    assert [span.name for span in sink.spans()] == ["last"]


def test_finish_after_a_kill(
    launcher: Launcher, sink: OtlpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the exporter is killed in this time, the master does its work; once, and it reports
    what is left."""
    host = launcher.host
    killed = [host.lock()]
    look = launch.has_exporter

    def kill(folder: Path) -> bool:
        while killed:
            os.close(killed.pop())
        return look(folder)

    monkeypatch.setattr(launch, "has_exporter", kill)
    host.worker.write("last")
    assert launcher.finish(time.monotonic() + DEADLINE, **spans_to(sink))
    assert [span.name for span in sink.spans()] == ["last"]
    host.worker.write("left")
    monkeypatch.setattr(Exporter, "run", lambda exporter: exporter.close())  # killed as well
    assert not launcher.finish(time.monotonic() + DEADLINE)
    assert [span.name for span in sink.spans()] == ["last"]


def test_finish_has_its_time(launcher: Launcher) -> None:
    """An exporter that does not end is not waited for beyond the deadline."""
    lock = launcher.host.lock()
    assert not launcher.finish(time.monotonic() + 0.1, OTEL_EXPORT_ENABLED="true")
    os.close(lock)


@pytest.mark.parametrize("number", [0, 1])
def test_finish_after_its_time(
    launcher: Launcher, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A master that was stopped while the exporter ended reports what is left."""
    host = launcher.host
    host.environ |= {"OTEL_EXPORT_ENABLED": "true"}
    lock = host.lock()
    monkeypatch.setattr(launch, "has_exporter", lambda folder: False)
    host.worker.write(*["left"] * number)
    assert launcher.finish(time.monotonic()) is (number == 0)
    os.close(lock)


def test_finish_without_an_export(launcher: Launcher) -> None:
    """There is nothing to wait for."""
    assert launcher.finish(time.monotonic() + DEADLINE)
    assert launcher.host.is_free()


def test_thread_that_ends_at_once(launcher: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock is closed once: its number may be that of a file of the application by then."""
    supervisor = launcher.supervisor()
    monkeypatch.setattr(launch._Hosted, "start", lambda hosted: hosted.run())
    monkeypatch.setattr(Exporter, "run", lambda exporter: exporter.close())
    supervisor.start()
    supervisor.forget()
    assert launcher.host.failures == []
    assert launcher.host.is_free()
