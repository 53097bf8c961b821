"""The exporter: what it does for a folder, and when it ends."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from avatar_telemetry.exporter import service as service_module
from avatar_telemetry.exporter.counts import IDENTIFIER
from avatar_telemetry.exporter.pusher import Pusher
from avatar_telemetry.exporter.record import Record, early_ends, record_start, write_record
from avatar_telemetry.exporter.service import CHANGED, ENDED, REPLACED, Exporter
from avatar_telemetry.exporter.signals import SignalExporter
from avatar_telemetry.exporter.wake import wake
from avatar_telemetry.metrics.folder import LOCK_NAME, open_runtime_dir
from avatar_telemetry.metrics.procfs import start_ticks
from avatar_telemetry.metrics.slots import EXPORTER_LOCK
from tests.support.descriptors import open_below
from tests.support.exporters import Host, exporting
from tests.support.otlp_faults import Fault
from tests.support.otlp_fixtures import sink
from tests.support.otlp_sink import OtlpSink
from tests.support.real_servers import own_port
from tests.support.waiting import DEADLINE, PATIENCE, eventually

__all__ = ["sink"]
Start = Callable[..., "Running"]


class Running(threading.Thread):
    """An exporter in a thread of the test."""

    def __init__(self, host: Host, **options: Any) -> None:
        super().__init__(name="exporter of a test")
        self.host = host
        self.lock = host.lock()
        self.end_requested = threading.Event()
        self.applied: list[Record] = []
        self.exporter = Exporter(
            host.folder, self.lock, host.settings, host.record(),
            end_requested=self.end_requested, apply=self.applied.append, **options,
        )  # fmt: skip
        self.reasons: list[str] = []
        self._rounds = 0
        self._look = self.exporter._reason_to_stop
        self.exporter._reason_to_stop = self._count_round  # type: ignore[method-assign]

    def run(self) -> None:
        self.reasons.append(self.exporter.run())

    def reason(self) -> str:
        """Wait for the end, and return why it came."""
        self.join(PATIENCE)
        assert not self.is_alive()
        (reason,) = self.reasons
        return reason

    def wait_for_a_round(self) -> None:
        """Wait until it has looked at everything that is there now, and goes on."""
        enough = self._rounds + 2  # one may have begun before
        eventually(lambda: self._rounds >= enough or self.reasons, "the next round")
        assert not self.reasons

    def _count_round(self) -> str:
        reason = self._look()
        self._rounds += not reason
        return reason


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts exporters of a folder with variables of the environment."""
    monkeypatch.setattr(service_module, "POLL_INTERVAL", 0.02)
    made: list[Running] = []

    def begin(**environ: str) -> Running:
        host = made[-1].host if made else Host(tmp_path, **environ)
        host.environ |= environ
        made.append(Running(host))
        made[-1].start()
        return made[-1]

    yield begin
    for running in made:
        running.exporter.end_by(time.monotonic())
        running.join(DEADLINE)
        assert not running.is_alive()
        os.close(running.lock)
    if made:
        made[-1].host.close()
    eventually(
        lambda: (
            not [each for each in threading.enumerate() if each.name.startswith("avatar-telemetry")]
        ),
        "the end of all threads",
    )
    assert open_below(tmp_path) == []


def test_everything_that_it_does(start: Start, sink: OtlpSink) -> None:
    """Spans and merged metrics are sent, the page is served, and all of it is counted."""
    running = start(**exporting(sink))
    running.host.worker.write("a", "b")
    eventually(lambda: len(sink.spans()) == 2, "the spans")
    eventually(lambda: sink.metrics(), "the metrics")
    eventually(running.host.serves_page, "the page")
    spans = "avatar_telemetry_spans_total"
    eventually(lambda: running.host.counted(spans, result="exported") == 2, "the count")
    pushes = "avatar_telemetry_metric_pushes_total"
    eventually(lambda: running.host.counted(pushes, result="exported") > 0, "the count")
    assert running.host.internal_errors() == {}


def test_removed_file_of_counts(start: Start, sink: OtlpSink) -> None:
    """A cleaner that removes the exporter's counters sets no count back."""
    running = start(**exporting(sink))
    running.host.worker.write("a", "b")
    spans = "avatar_telemetry_spans_total"
    eventually(lambda: running.host.counted(spans, result="exported") == 2, "the count")
    (running.host.folder / f"counter_{IDENTIFIER}.db").unlink()
    eventually(lambda: running.host.counted(spans, result="exported") == 2, "the same count")


def test_thread_that_cannot_be_started(
    tmp_path: Path, sink: OtlpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exporter that can send no spans ends, so that another one does."""

    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(SignalExporter, "start", fail)
    host = Host(tmp_path, **exporting(sink))
    lock = host.lock()
    before = open_below(tmp_path)
    exporter = Exporter(tmp_path, lock, host.settings, host.record())
    monkeypatch.setattr(service_module, "MAX_END_WAIT", 0.01)
    with pytest.raises(RuntimeError):
        exporter.run()
    assert open_below(tmp_path) == before
    os.close(lock)
    host.close()


def test_interpreter_that_ends_and_starts_no_thread(
    tmp_path: Path, sink: OtlpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no thread can be started at the end (Python 3.12), everything is sent all the same."""

    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    host = Host(tmp_path, **exporting(sink))
    lock = host.lock()
    host.worker.write("a")
    exporter = Exporter(tmp_path, lock, host.settings, host.record())
    exporter.end_by(time.monotonic() + DEADLINE)
    for kind in (SignalExporter, Pusher):
        monkeypatch.setattr(kind, "start", fail)
    reasons: list[str] = []
    thread = threading.Thread(target=lambda: reasons.append(exporter.run()))
    thread.start()
    thread.join(DEADLINE)
    assert reasons == [ENDED]
    assert [span.name for span in sink.spans()] == ["a"]
    assert sink.metrics()
    os.close(lock)
    host.close()


def test_log_records_alone(start: Start, sink: OtlpSink) -> None:
    """Without exporters of spans and metrics only log records are sent."""
    running = start(
        **exporting(sink, OTEL_LOGS_EXPORTER="otlp", OTEL_TRACES_EXPORTER="none",
                    OTEL_METRICS_EXPORTER="none", OTEL_BLRP_SCHEDULE_DELAY="10")
    )  # fmt: skip
    running.wait_for_a_round()
    assert [each.signal for each in running.exporter._signals] == ["logs"]
    assert running.exporter._pusher is None


def test_export_off(start: Start) -> None:
    """The page alone is served then."""
    running = start()
    eventually(running.host.serves_page, "the page")
    assert running.exporter._signals == []
    assert running.exporter._pusher is None


def test_separate_port(start: Start) -> None:
    """The port is served beside the page, and tried again while it is in use."""
    with own_port() as port:
        with socket.create_server(("127.0.0.1", port)):
            running = start(OTEL_PROMETHEUS_ENDPOINT=f"127.0.0.1:{port}")
            eventually(lambda: running.host.internal_errors().keys() == {"port"}, "the failure")
            eventually(running.host.serves_page, "the page")

        def page() -> bytes:
            url = f"http://127.0.0.1:{port}/metrics"
            try:
                with urllib.request.urlopen(url, timeout=DEADLINE) as response:
                    return bytes(response.read())
            except OSError:
                return b""

        assert b"avatar_telemetry_slots_in_use" in eventually(page, "the port")


def test_full_ring_wakes_it(start: Start, sink: OtlpSink) -> None:
    """A wake-up has the spans sent before their delay is over."""
    running = start(**exporting(sink, OTEL_BSP_SCHEDULE_DELAY="600000"))
    running.wait_for_a_round()
    running.host.worker.write("a")
    wake(running.host.folder)
    eventually(lambda: sink.spans(), "the span")


def test_it_ends_with_its_server(start: Start, sink: OtlpSink) -> None:
    """When its end was requested and no worker is there it sends what is left, and ends."""
    running = start(**exporting(sink, OTEL_BSP_SCHEDULE_DELAY="600000"))
    eventually(running.host.serves_page, "the page")
    running.end_requested.set()
    running.wait_for_a_round()
    running.host.worker.write("last")
    running.host.end_worker()
    assert running.reason() == ENDED
    assert [span.name for span in sink.spans()] == ["last"]
    assert not running.host.serves_page()


def test_idle_time_is_for_reloads(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any worker it goes on for some time: a reload may replace all of them."""
    monkeypatch.setattr(service_module, "MAX_IDLE", 3600.0)
    running = start()
    running.host.end_worker()
    running.wait_for_a_round()
    monkeypatch.setattr(service_module, "MAX_IDLE", 0.0)
    assert running.reason() == ENDED


def test_server_without_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the master lives there may be a worker again, however long that takes."""
    monkeypatch.setattr(service_module, "MAX_IDLE", 0.0)
    directory = open_runtime_dir(str(tmp_path), 0, os.getuid(), os.getgid())
    host = Host(tmp_path)
    lock = host.lock()
    exporter = Exporter(tmp_path, lock, host.settings, host.record())
    host.end_worker()
    reasons = [exporter._reason_to_stop()]
    os.close(directory.lock)
    (tmp_path / "folder.lock").unlink()
    reasons.append(exporter._reason_to_stop())
    exporter.close()
    os.close(lock)
    host.close()
    assert reasons == ["", ENDED]


def test_end_by_the_record(start: Start, sink: OtlpSink) -> None:
    """The master sets an end, although workers are there; what is left is sent before it."""
    running = start(**exporting(sink, OTEL_BSP_SCHEDULE_DELAY="600000"))
    running.wait_for_a_round()
    running.host.worker.write("last")
    write_record(running.host.folder, running.host.ending(time.monotonic() + DEADLINE))
    assert running.reason() == ENDED
    assert [span.name for span in sink.spans()] == ["last"]


def test_end_with_a_collector_that_hangs(start: Start, sink: OtlpSink) -> None:
    """The end takes no longer than its time; the spans stay in the ring."""
    sink.behave(Fault.BLACKHOLE)
    running = start(**exporting(sink))
    running.host.worker.write("last")
    eventually(lambda: sink.exchanges(), "the attempt")
    running.exporter.end_by(time.monotonic() + 0.3)
    assert running.reason() == ENDED
    assert running.host.worker.ring.waiting == 1
    sink.behave()


def end_by_record(host: Host, exporter: Exporter) -> None:
    write_record(host.folder, host.ending(time.monotonic() + DEADLINE))


def end_host(host: Host, exporter: Exporter) -> None:
    exporter.end_by(time.monotonic() + DEADLINE)


def change_settings(host: Host, exporter: Exporter) -> None:
    write_record(host.folder, host.record(OTEL_SERVICE_NAME="other"))


@pytest.mark.parametrize(
    ("end", "others", "fate"),
    [
        pytest.param(end_by_record, True, "lost: the server has ended", id="end of the server"),
        pytest.param(end_host, False, "lost: the server has ended", id="end of a lone process"),
        pytest.param(end_host, True, "kept for the next exporter", id="end of one of several"),
        pytest.param(change_settings, False, "kept for the next exporter", id="reload"),
    ],
)
def test_unsent_spans_at_the_end(
    start: Start,
    sink: OtlpSink,
    caplog: pytest.LogCaptureFixture,
    end: Callable[[Host, Exporter], None],
    others: bool,
    fate: str,
) -> None:
    """The last line says whether another exporter will send them."""
    sink.behave(Fault.REFUSED)
    running = start(
        **exporting(sink, OTEL_BSP_SCHEDULE_DELAY="600000", OTEL_METRICS_EXPORTER="none")
    )
    masters = [os.getpid(), *([os.getppid()] if others else [])]
    record = {"masters": [[pid, start_ticks(pid)] for pid in masters]}
    (running.host.folder / LOCK_NAME).write_text(json.dumps(record))
    eventually(lambda: running.exporter._signals, "the start")
    running.host.worker.write("last")
    end(running.host, running.exporter)
    running.reason()
    (line,) = [each for each in caplog.messages if "not sent" in each]
    assert f"; 1 span not sent, {fate} (sent to {sink.url}" in line


def test_changed_settings(start: Start, sink: OtlpSink) -> None:
    """It stops for another exporter, which goes on where it stopped."""
    running = start(**exporting(sink))
    running.wait_for_a_round()
    write_record(running.host.folder, running.host.record(OTEL_SERVICE_NAME="other"))
    assert running.reason() == CHANGED


def accepts(port: int) -> bool:
    """Return whether anything listens on a port."""
    try:
        socket.create_connection(("127.0.0.1", port), DEADLINE).close()
    except ConnectionError:
        return False
    return True


def test_port_is_free_for_the_changed_settings(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next exporter of the process binds the separate port at once, without a failure."""
    monkeypatch.setattr(service_module, "MAX_PORT_WAIT", PATIENCE)
    with own_port() as port:
        running = start(OTEL_PROMETHEUS_ENDPOINT=f"127.0.0.1:{port}")
        eventually(lambda: accepts(port), "the port")
        write_record(running.host.folder, running.host.record(OTEL_SERVICE_NAME="other"))
        assert running.reason() == CHANGED
        assert not accepts(port)


def test_same_settings_of_another_master(start: Start) -> None:
    """A change of the processes that it serves needs no other exporter."""
    running = start()
    record = running.host.record(master=os.getpid())
    write_record(running.host.folder, record)
    running.wait_for_a_round()
    assert running.exporter._collector.server is not None
    assert running.applied[1:] == [record]
    for content in (b"", b"garbage", b"[]"):
        (running.host.folder / "exporter.json").write_bytes(content)
        running.wait_for_a_round()
    eventually(running.host.serves_page, "the page")


def test_lock_that_was_removed(start: Start) -> None:
    """Another exporter may run then: this one ends."""
    running = start()
    running.wait_for_a_round()
    (running.host.folder / EXPORTER_LOCK).unlink()
    assert running.reason() == REPLACED


def test_folder_that_was_removed(start: Start, sink: OtlpSink) -> None:
    """The exporter of a folder that is gone ends, without an exception."""
    running = start(**exporting(sink))
    running.wait_for_a_round()
    gone = running.host.folder.rename(running.host.folder.with_name("gone"))
    assert running.reason() == REPLACED
    shutil.rmtree(gone)
    running.host.folder.mkdir()


def test_things_in_the_place_of_its_files(start: Start, tmp_path: Path, sink: OtlpSink) -> None:
    """Where socket and pipe cannot be made, spans and metrics are sent all the same."""
    (tmp_path / "exporter.sock").mkdir()
    (tmp_path / "exporter.wake").write_bytes(b"")
    running = start(**exporting(sink))
    running.host.worker.write("a")
    eventually(lambda: sink.spans(), "the span")
    running.wait_for_a_round()
    assert running.host.internal_errors() == {"scrape": 1}


def test_start_that_succeeds_ends_the_count_of_early_ends(start: Start, tmp_path: Path) -> None:
    """The next start of an exporter that ran waits for nothing."""
    host_lock = os.open(tmp_path / EXPORTER_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    record_start(host_lock, 2)
    assert early_ends(host_lock)[0] == 2
    start().wait_for_a_round()
    assert early_ends(host_lock)[0] == 0
    os.close(host_lock)


def test_full_file_system_ends_no_exporter(
    start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An exporter that cannot note its start runs; a note takes no space that is not there yet."""
    lock = os.open(tmp_path / EXPORTER_LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    sizes = []
    for ends in (1, 12, 0):
        record_start(lock, ends)
        sizes.append(os.fstat(lock).st_size)
        assert early_ends(lock)[0] == ends
    os.close(lock)
    assert len(set(sizes)) == 1

    def fail(lock: int, starts: int) -> None:
        raise OSError("no space")

    monkeypatch.setattr(service_module, "record_start", fail)
    running = start()
    running.wait_for_a_round()
    assert running.host.internal_errors() == {"exporter": 1}


IMPORTS = """
import os, sys
from pathlib import Path
from avatar_telemetry import Settings
from avatar_telemetry.exporter.service import load
load(Settings.from_env(os.environ))
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


@pytest.mark.parametrize("enabled", [False, True])
def test_imports_follow_the_settings(enabled: bool) -> None:
    """With the export off nothing is imported that only sending needs."""
    environ = {"OTEL_EXPORT_ENABLED": str(enabled), "PATH": os.environ["PATH"]}
    ran = subprocess.run(
        [sys.executable, "-c", IMPORTS], env=environ, capture_output=True, text=True, check=True
    )
    needed = {"requests", "urllib3", "google"} if enabled else set()
    assert {"requests", "urllib3", "google", "webob"} & set(ran.stdout.split()) == needed
