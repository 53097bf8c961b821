"""Reloads, upgrades, recycled workers: the exporter follows the settings, nothing comes twice."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.exporter_process import (
    SPANS_EACH,
    Requests,
    arrived,
    counted,
    sending,
    settled,
    times,
)
from tests.support.gunicorn_server import GunicornServer, Load, Serve, eventually, exporters
from tests.support.otlp_sink import OtlpSink
from tests.support.rows import MATRIX, by_default, rows

RELOADED = [row for row in MATRIX if row.id in ("sync-import", "gthread-preload", "gevent-import")]


def assert_all_once(server: GunicornServer, requests: Requests, *sinks: OtlpSink) -> None:
    """Each span of the answered requests came once, and is counted once."""
    requests.await_all(*sinks)
    came = times(*sinks)
    assert set(came.values()) == {1}
    assert len(came) == len(requests.answered) * SPANS_EACH
    eventually(lambda: counted(server) == {"exported": len(came)}, what="the count")


@pytest.mark.parametrize(("worker_class", "preload"), by_default("sync-import", RELOADED))
def test_another_endpoint(serve: Serve, sink: OtlpSink, worker_class: str, preload: bool) -> None:
    """What is recorded after the reload goes to the new collector, and nothing comes twice."""
    server = serve(
        "answers:application", worker_class=worker_class, preload_app=preload,
        env=sending(sink.url),
    )  # fmt: skip
    requests = Requests(server)
    with OtlpSink() as other:
        with Load(requests, clients=2) as load:
            load.await_more(50)
            server.reload(OTEL_EXPORTER_OTLP_ENDPOINT=other.url)
            load.await_more(50)
        assert not load.failures
        requests.send_until_exported(other)
        before = len(arrived(sink))
        requests.send(10)
        assert_all_once(server, requests, sink, other)
        assert len(arrived(sink)) == before
        server.end(server.pid)


def test_dead_collector_is_replaced_by_a_reload(serve: Serve, sink: OtlpSink) -> None:
    """What waited for the old collector goes to the new one."""
    sink.stop()
    server = serve("answers:application", env=sending(sink.url))
    requests = Requests(server)
    requests.send(20)
    with OtlpSink() as other:
        server.reload(OTEL_EXPORTER_OTLP_ENDPOINT=other.url)
        requests.send(20)
        assert_all_once(server, requests, other)
        server.end(server.pid)


def test_export_switched_off_and_on(serve: Serve, sink: OtlpSink) -> None:
    """Switched off, nothing is recorded and the page is served; switched on, it is sent again."""
    server = serve("answers:application", env=sending(sink.url))
    requests = Requests(server)
    requests.send(10)
    server.exporter()
    server.reload(OTEL_EXPORT_ENABLED="false")
    requests.await_all(sink)
    silent = Requests(server)
    silent.send(10)
    server.await_requests(20)
    server.exporter()
    server.reload(OTEL_EXPORT_ENABLED="true")
    requests.send(10)
    assert_all_once(server, requests, sink)
    server.await_requests(30)


def test_export_switched_off_with_one_worker(serve: Serve, sink: OtlpSink) -> None:
    """Nothing is left for an exporter to do: it sends what waits, and ends."""
    server = serve("answers:application", workers=1, env=sending(sink.url))
    requests = Requests(server)
    requests.send(10)
    server.exporter()
    server.reload(OTEL_EXPORT_ENABLED="false")
    requests.await_all(sink)
    requests.send(1)
    eventually(lambda: exporters(server.runtime_folder) == [], what="the end of the exporter")
    assert set(times(sink).values()) == {1}


@pytest.mark.parametrize("worker_class", by_default("sync", rows("sync", "gthread", "gevent")))
def test_another_kind_of_exporter(serve: Serve, sink: OtlpSink, worker_class: str) -> None:
    """From a process to a thread and back: at each moment one of them sends."""
    server = serve("answers:application", worker_class=worker_class, env=sending(sink.url))
    requests = Requests(server)
    requests.send(10)
    server.exporter()
    server.reload(AVATAR_TELEMETRY_EXPORTER="thread")
    eventually(lambda: exporters(server.runtime_folder) == [], what="the end of the process")
    requests.send_until_exported(sink)
    # A worker's end waits for nothing: what is under way then is sent again.
    eventually(lambda: settled(server), what="the removal of all spans from the rings")
    server.reload(AVATAR_TELEMETRY_EXPORTER="process")
    requests.send_until_exported(sink)
    server.exporter()
    assert_all_once(server, requests, sink)


def test_reload_to_settings_that_cannot_be_used(serve: Serve, sink: OtlpSink) -> None:
    """The exporter that runs goes on with the settings of before."""
    server = serve("answers:application", env=sending(sink.url))
    requests = Requests(server)
    requests.send(10)
    running = server.exporter()
    server.reload(AVATAR_TELEMETRY_RING_SIZE="some", OTEL_EXPORTER_OTLP_ENDPOINT="http://[")
    requests.send(10)
    assert_all_once(server, requests, sink)
    assert exporters(server.runtime_folder) == [running]
    assert server.log().count("AVATAR_TELEMETRY_RING_SIZE='some'") == 2


def test_reload_that_changes_nothing(serve: Serve, sink: OtlpSink) -> None:
    """The same exporter goes on."""
    server = serve("answers:application", env=sending(sink.url))
    requests = Requests(server)
    requests.send(5)
    running = server.exporter()
    for _ in range(2):
        server.reload()
        requests.send(5)
    assert_all_once(server, requests, sink)
    assert exporters(server.runtime_folder) == [running]


@pytest.mark.parametrize("first", by_default("old", rows("old", "new")))
def test_upgrade(serve: Serve, sink: OtlpSink, first: str) -> None:
    """Two masters have one exporter, which outlives the master that ends first."""
    server = serve("answers:application", env=sending(sink.url))
    requests = Requests(server)
    with Load(requests, clients=2) as load:
        load.await_more(20)
        running = server.exporter()
        old, new = server.upgrade()
        load.await_more(20)
        assert exporters(server.runtime_folder) == [running]
        server.end(old if first == "old" else new)
        server.await_workers(2)
        load.await_more(20)
    assert not load.failures
    assert_all_once(server, requests, sink)
    assert exporters(server.runtime_folder) == [running]
    requests.send(10)
    folder = server.runtime_folder
    server.end(new if first == "old" else old)
    assert requests.missing(sink) == set()
    assert set(times(sink).values()) == {1}
    assert exporters(folder) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_upgrade_that_is_taken_back(serve: Serve, sink: OtlpSink, number: int) -> None:
    """Where the new master ends first, the old one's settings count again."""
    server = serve("answers:application", env=sending(sink.url))
    requests = Requests(server)
    requests.send(10)
    requests.await_all(sink)
    with OtlpSink() as other:
        server.set_raw_env(OTEL_EXPORTER_OTLP_ENDPOINT=other.url)
        _, new = server.upgrade()
        requests.send_until_exported(other)
        server.end(new, number)
        server.await_end_of_orphans()
        requests.send_until_exported(sink)
        before = len(arrived(other))
        requests.send(10)
        assert_all_once(server, requests, sink, other)
        assert len(arrived(other)) == before


def test_more_and_fewer_workers(serve: Serve, sink: OtlpSink) -> None:
    """The exporter reads the rings of all slots, with and without a holder."""
    server = serve("answers:application", env=sending(sink.url))
    requests = Requests(server)
    with Load(requests, clients=2) as load:
        for number, count in ((signal.SIGTTIN, 3), (signal.SIGTTIN, 4), (signal.SIGTTOU, 3)):
            server.signal(number)
            server.await_workers(count)
            load.await_more(20)
    assert not load.failures
    assert_all_once(server, requests, sink)


@pytest.mark.parametrize(("worker_class", "preload"), by_default("sync-import", RELOADED))
def test_recycled_workers(serve: Serve, sink: OtlpSink, worker_class: str, preload: bool) -> None:
    """With ``max_requests`` each worker goes on in the ring of the last one."""
    server = serve(
        "answers:application", worker_class=worker_class, preload_app=preload, max_requests=10,
        env=sending(sink.url),
    )  # fmt: skip
    requests = Requests(server)
    eventually(lambda: requests.send(10) or len(server.ready()) > 4, what="other workers")
    assert_all_once(server, requests, sink)
    rings = {path.name for path in Path(server.runtime_folder).glob("*.ring")}
    assert rings <= {"spans-0.ring", "spans-1.ring", "spans-2.ring"}
