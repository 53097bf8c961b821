"""Ends of workers and servers: no worker waits for a collector, the master only so long."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress

import pytest

from avatar_telemetry.exporter.record import read_record
from tests.support.exporter_process import SPANS_EACH, Requests, sending, times
from tests.support.gunicorn_server import (
    GunicornServer,
    Serve,
    eventually,
    exporters,
    is_running,
)
from tests.support.otlp_faults import Fault
from tests.support.otlp_sink import OtlpSink
from tests.support.pushed_metrics import assert_goes_on, pushed
from tests.support.rows import WORKER_CLASSES, by_default, rows
from tests.support.waiting import DEADLINE


def hold_exporter(server: GunicornServer, sink: OtlpSink) -> Requests:
    """Have the exporter wait for the response to its first request."""
    requests = Requests(server)
    requests.send(5)
    eventually(lambda: is_held(sink), what="the exporter's request")
    return requests


def is_held(sink: OtlpSink) -> bool:
    """Return whether the first request to a silent sink is still in progress."""
    return sink.connections == 1 and len(sink.exchanges()) == 1


@pytest.mark.parametrize("how", by_default("reload", rows("reload", "recycle", "end")))
@pytest.mark.parametrize("worker_class", by_default("gthread", WORKER_CLASSES))
def test_no_worker_waits_for_the_collector(
    serve: Serve, sink: OtlpSink, worker_class: str, how: str
) -> None:
    """Workers end while the exporter still waits for the collector; nothing is lost by it."""
    sink.behave(Fault.SLOW, seconds=DEADLINE)
    server = serve(
        "answers:application", worker_class=worker_class, env=sending(sink.url),
        max_requests=20 if how == "recycle" else 0,
    )  # fmt: skip
    before = server.await_workers(2)
    requests = hold_exporter(server, sink)
    if how == "reload":
        server.reload()
    elif how == "recycle":
        eventually(lambda: requests.send(5) or not set(before) & set(server.workers()))
    else:
        server.signal(signal.SIGTERM)
    eventually(lambda: not any(map(is_running, before)), what="the end of the workers")
    assert is_held(sink)
    assert is_running(server.pid)
    sink.behave()
    if how == "end":
        assert server.wait() == 0
        assert requests.missing(sink) == set()
    else:
        requests.await_all(sink)
    assert set(times(sink).values()) == {1}


def test_the_end_waits_as_long_as_it_may(serve: Serve, sink: OtlpSink) -> None:
    """With a silent collector the server ends after the time-out, and logs what that means."""
    sink.behave(Fault.BLACKHOLE)
    env = sending(sink.url, AVATAR_TELEMETRY_FLUSH_TIMEOUT="1.5")
    server = serve("answers:application", env=env)
    folder = server.runtime_folder
    hold_exporter(server, sink)
    running = server.exporter()
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert "did not send everything within 1.5 s (AVATAR_TELEMETRY_FLUSH_TIMEOUT)" in server.log()
    eventually(lambda: not is_running(running), what="the end of the exporter")
    assert exporters(folder) == []
    assert not folder.exists()
    assert "Traceback" not in server.log()


def end_master(server: GunicornServer) -> None:
    server.signal(signal.SIGTERM)


def end_quickly(server: GunicornServer) -> None:
    server.signal(signal.SIGQUIT)


def end_everything(server: GunicornServer) -> None:
    """As systemd does it, exporter and all."""
    for pid in [*exporters(server.runtime_folder), *server.everybody()]:
        with suppress(ProcessLookupError):  # a worker that its master has ended
            os.kill(pid, signal.SIGTERM)


@pytest.mark.parametrize(
    "end",
    by_default("all", [
        pytest.param(end_master, id="TERM"),
        pytest.param(end_quickly, id="QUIT"),
        pytest.param(end_everything, id="all"),
    ]),
)  # fmt: skip
@pytest.mark.parametrize("worker_class", by_default("sync", WORKER_CLASSES))
@pytest.mark.parametrize("hosted", by_default("process", rows("process", "thread")))
def test_everything_is_sent_at_the_end(
    serve: Serve,
    sink: OtlpSink,
    worker_class: str,
    hosted: str,
    end: Callable[[GunicornServer], None],
) -> None:
    """The last spans and the last push arrive, and nothing comes twice."""
    env = sending(
        sink.url, OTEL_METRICS_EXPORTER="otlp", OTEL_METRIC_EXPORT_INTERVAL="600000",
        OTEL_BSP_SCHEDULE_DELAY="600000", HOSTNAME="here", AVATAR_TELEMETRY_EXPORTER=hosted,
    )  # fmt: skip
    server = serve("answers:application", worker_class=worker_class, env=env)
    folder = server.runtime_folder
    requests = Requests(server)
    if hosted == "process":
        server.exporter()
    requests.send(30)
    end(server)
    assert server.wait() == 0
    assert requests.missing(sink) == set()
    assert times(sink).total() == len(requests.answered) * SPANS_EACH
    pushed(sink, 30)
    assert_goes_on(sink)
    ended = server.log().partition("Handling signal")[2]
    assert "avatar_telemetry" not in ended and "internal telemetry error" not in ended
    eventually(lambda: exporters(folder) == [], what="the end of the exporter")
    assert not folder.exists()


def test_start_and_end_at_once(serve: Serve, sink: OtlpSink) -> None:
    """Where the exporter has not come up yet at the end, what was recorded is sent all the same."""
    server = serve("answers:application", env=sending(sink.url))
    requests = Requests(server)
    requests.send(5)
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert requests.missing(sink) == set()
    assert set(times(sink).values()) == {1}


def test_exporter_killed_before_the_end(serve: Serve, sink: OtlpSink) -> None:
    """The master starts another one for what is left, and waits for it."""
    env = sending(sink.url, OTEL_BSP_SCHEDULE_DELAY="600000")
    server = serve("answers:application", env=env)
    running = server.exporter()
    requests = Requests(server)
    requests.send(5)
    os.kill(running, signal.SIGKILL)
    eventually(lambda: not is_running(running), what="the end of the exporter")
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert requests.missing(sink) == set()
    assert set(times(sink).values()) == {1}


def is_ending(server: GunicornServer) -> bool:
    """Return whether the master has set the end of its exporter, and waits for it."""
    record = read_record(server.runtime_folder)
    return record is not None and record.ends_at > 0


def test_exporter_killed_at_the_end(serve: Serve, sink: OtlpSink) -> None:
    """The same where it is killed while the master waits for it."""
    env = sending(sink.url, OTEL_BSP_SCHEDULE_DELAY="600000")
    server = serve("answers:application", env=env)
    running = server.exporter()
    os.kill(running, signal.SIGSTOP)
    requests = Requests(server)
    requests.send(5)
    server.signal(signal.SIGTERM)
    eventually(lambda: is_ending(server), what="the end of the server")
    os.kill(running, signal.SIGKILL)
    assert server.wait() == 0
    assert requests.missing(sink) == set()
    assert set(times(sink).values()) == {1}
