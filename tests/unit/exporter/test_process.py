"""The exporter as a process of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from avatar_telemetry.exporter.launch import Supervisor, spawn
from avatar_telemetry.exporter.record import FILE_NAME, write_record
from avatar_telemetry.metrics.slots import EXPORTER_LOCK
from tests.support.descriptors import open_files
from tests.support.exporters import USER, Host, exporting
from tests.support.gunicorn_server import exporters
from tests.support.otlp_fixtures import sink
from tests.support.otlp_sink import OtlpSink
from tests.support.waiting import DEADLINE, eventually

__all__ = ["sink"]


class Server:
    """A host whose worker keeps an exporter running as a process."""

    def __init__(self, folder: Path, sink: OtlpSink) -> None:
        self.host = Host(
            folder, **exporting(sink, OTEL_METRICS_EXPORTER="none"),
            AVATAR_TELEMETRY_EXPORTER="process",
        )  # fmt: skip
        self.sink = sink

    def supervisor(self) -> Supervisor:
        host = self.host
        return Supervisor(
            host.folder, host.settings, host.record(master=os.getpid()), USER, host.guard
        )

    def pids(self) -> list[int]:
        """The processes that are exporters of this folder."""
        return exporters(self.host.folder)

    def send(self, name: str) -> None:
        """Write a span and wait until it arrived, and the exporter has noted that."""
        self.host.worker.write(name)
        eventually(lambda: name in [span.name for span in self.sink.spans()], f"the span {name}")
        ring = self.host.worker.ring
        eventually(lambda: ring.read == ring.written, "the end of the batch")

    def pid(self) -> int:
        """The process of the exporter that has sent something."""
        (pid,) = self.pids()
        return pid

    def close(self) -> None:
        self.host.end_worker()
        for pid in self.pids():
            with suppress(ProcessLookupError):  # it may just have ended
                os.kill(pid, signal.SIGKILL)
        eventually(lambda: not self.pids(), "the end of the processes")
        self.host.close()


@pytest.fixture
def server(tmp_path: Path, sink: OtlpSink) -> Iterator[Server]:
    server = Server(tmp_path, sink)
    yield server
    server.close()


def stat_of(pid: int) -> list[str]:
    """The fields of ``/proc/<pid>/stat`` after the name: state, parent, group, session, ..."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()


def test_a_process_of_its_own(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is detached, holds nothing of the server but the lock, and has no secret of the
    application."""
    monkeypatch.setenv("SECRET_KEY", "secret-of-the-application")
    listener = socket.create_server(("127.0.0.1", 0))
    listener.set_inheritable(True)
    server.supervisor().start()
    server.send("a")
    pid = server.pid()
    _, parent, group, session, *_ = stat_of(pid)
    assert int(parent) != os.getpid()
    assert int(group) == int(session) != os.getsid(0)
    assert Path(f"/proc/{pid}/comm").read_text() == "avatar-exporter\n"
    assert b"secret-of-the-application" not in Path(f"/proc/{pid}/environ").read_bytes()
    opened = open_files(pid)
    assert opened[0] == os.devnull
    assert str(tmp_path / EXPORTER_LOCK) in opened.values()
    inode = os.fstat(listener.fileno()).st_ino
    assert f"socket:[{inode}]" not in opened.values()
    eventually(server.host.serves_page, "the page")
    listener.close()


def test_the_applications_modules_are_not_imported(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module of the application with the name of a library is not found before it."""
    application = tmp_path.parent / f"{tmp_path.name}-app"
    application.mkdir()
    for name in ("requests", "json", "avatar_telemetry", "site"):
        (application / f"{name}.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(application)
    monkeypatch.syspath_prepend("")
    monkeypatch.setenv("PYTHONPATH", str(application))
    server.supervisor().start()
    server.send("a")


def test_application_that_ignores_its_children(server: Server) -> None:
    """Where the exit status of the first process is lost, one exporter runs all the same."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        server.supervisor().start()
    finally:
        signal.signal(signal.SIGCHLD, before)
    server.send("a")
    assert server.host.failures == []
    assert server.pid()


def test_it_is_started_again(server: Server) -> None:
    """After a kill the next check starts another one, which continues."""
    supervisor = server.supervisor()
    supervisor.start()
    server.send("a")
    os.kill(server.pid(), signal.SIGKILL)
    eventually(server.host.is_free, "the end")
    server.host.worker.write("b")
    supervisor.check()
    server.send("c")
    assert server.pid()
    assert [span.name for span in server.sink.spans()] == ["a", "b", "c"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_signals(server: Server, number: signal.Signals) -> None:
    """A signal to the whole group does not end it before the workers; then it ends at once."""
    server.supervisor().start()
    server.send("a")
    pid = server.pid()
    os.kill(pid, number)
    server.send("b")
    assert server.pid() == pid
    server.host.worker.write("last")
    server.host.end_worker()
    eventually(lambda: not server.pids(), "the end")
    assert [span.name for span in server.sink.spans()] == ["a", "b", "last"]


def test_changed_settings(server: Server) -> None:
    """The process begins again with the new settings, keeps the lock meanwhile, and sends every
    span once."""
    server.supervisor().start()
    server.send("a")
    pid = server.pid()
    with OtlpSink() as other:
        record = server.host.record(master=os.getpid(), OTEL_EXPORTER_OTLP_ENDPOINT=other.url)
        write_record(server.host.folder, record)
        free: list[bool] = []
        written = ["a"]

        def arrived() -> bool:
            free.append(server.host.is_free())
            written.append(str(len(written)))
            server.host.worker.write(written[-1])
            return bool(other.spans())

        eventually(arrived, "a span")
        assert not any(free)
        assert server.pid() == pid
        eventually(lambda: not server.host.worker.ring.waiting, "all spans")
        names = [span.name for each in (server.sink, other) for span in each.spans()]
        assert sorted(names) == sorted(written)


def test_finish(server: Server) -> None:
    """The master waits until everything was sent; it starts a process where there is none."""
    host = server.host
    host.worker.write("last")
    deadline = time.monotonic() + DEADLINE
    assert server.supervisor().finish(deadline)
    assert [span.name for span in server.sink.spans()] == ["last"]
    eventually(lambda: not server.pids(), "the end")


def break_record(folder: Path) -> None:
    (folder / FILE_NAME).write_bytes(b"[")


def break_settings(folder: Path) -> None:
    record = json.loads((folder / FILE_NAME).read_bytes())
    record["environ"]["AVATAR_TELEMETRY_SIZES"] = "large"
    (folder / FILE_NAME).write_text(json.dumps(record))


@pytest.mark.parametrize("damage", [break_record, break_settings])
def test_record_that_cannot_be_used(
    server: Server, capfd: pytest.CaptureFixture[str], damage: Callable[[Path], object]
) -> None:
    """The process ends without a status of gunicorn's, and with a line that says why."""
    host = server.host
    write_record(host.folder, host.record(master=os.getpid()))
    damage(host.folder)
    lock = host.lock()
    spawn(host.folder, lock, dict(host.environ), *USER)
    os.close(lock)
    eventually(host.is_free, "the end")
    written = capfd.readouterr().err
    assert "AVATAR_TELEMETRY_SIZES" in written or "JSONDecodeError" in written
    eventually(lambda: not server.pids(), "the end of the process")
