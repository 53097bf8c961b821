"""Metrics over OTLP from a real gunicorn: who pushes, what, from when, and until when."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client.utils import floatToGoString

from tests.e2e.test_gunicorn_page import the_leader
from tests.e2e.test_gunicorn_upgrade import end, upgrade
from tests.support.gunicorn_server import (
    GunicornServer,
    Metrics,
    Serve,
    eventually,
    is_running,
    total,
)

AVATARS = {"path": "/avatar/{id}", "status_code": "200"}
INTERVAL = 300
CUMULATIVE = 2
# These are read at another moment on the page than in a push, or count the pushes.
OWN = ("process_", "gunicorn_", "avatar_telemetry_", "target_info")
METERED = """
def post_worker_init(worker):
    from opentelemetry import metrics
    counter = metrics.get_meter("mine").create_counter("my_calls")
    counter.add(2)
"""


class Sink:
    """Takes OTLP metrics over HTTP and keeps what came."""

    def __init__(self) -> None:
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if sink.held:
                    sink.asked.set()
                    sink.released.wait(30)
                    return
                sink.requests.append(ExportMetricsServiceRequest.FromString(body))
                if sink.slow:
                    sink.released.wait(1.0)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.requests: list[ExportMetricsServiceRequest] = []
        self.held = False
        self.slow = False
        self.asked = threading.Event()
        self.released = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def points(self, instance: str = "here") -> Iterator[tuple[Any, Any, str]]:
        """Metric, point and kind, in the order of their arrival, of one service instance."""
        for request in list(self.requests):
            for each in request.resource_metrics:
                if attributes(each.resource)["service.instance.id"] == instance:
                    for metric in each.scope_metrics[0].metrics:
                        kind = metric.WhichOneof("data")
                        for point in getattr(metric, kind).data_points:
                            yield metric, point, kind

    def latest(self) -> Metrics:
        """The last value of each series, as a page in the text format would name it."""
        metrics: Metrics = {}
        for metric, point, kind in self.points():
            for suffix, labels, value in samples(point, kind):
                metrics[metric.name + suffix, frozenset(labels)] = value
        return metrics


def samples(point: Any, kind: str) -> Iterator[tuple[str, set[tuple[str, str]], float]]:
    labels = set(attributes(point).items())
    if kind != "histogram":
        yield "", labels, point.as_double
        return
    below = 0
    for bound, count in zip(
        (*point.explicit_bounds, float("inf")), point.bucket_counts, strict=True
    ):
        below += count
        yield "_bucket", labels | {("le", floatToGoString(bound))}, below
    yield "_count", labels, point.count
    yield "_sum", labels, point.sum


def attributes(part: Any) -> dict[str, str]:
    return {each.key: each.value.string_value for each in part.attributes}


@pytest.fixture
def sink() -> Iterator[Sink]:
    with running_sink() as sink:
        yield sink


@contextmanager
def running_sink() -> Iterator[Sink]:
    sink = Sink()
    thread = threading.Thread(target=sink.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield sink
    finally:
        sink.released.set()
        sink.server.shutdown()
        thread.join()
        sink.server.server_close()


def environment(sink: Sink, **more: str) -> dict[str, str | None]:
    return {
        "OTEL_EXPORT_ENABLED": "true",
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url,
        "OTEL_METRIC_EXPORT_INTERVAL": str(INTERVAL),
        "HOSTNAME": "here",
        **more,
    }


def pushed(sink: Sink, number: float, **labels: str) -> None:
    eventually(lambda: total(sink.latest(), "ivatar_requests_total", **labels) == number)


def await_first_push(sink: Sink) -> None:
    """A leader pushes when it begins; what is counted after that has to wait."""
    eventually(lambda: sink.requests, what="the first push")


def since(server: GunicornServer) -> float:
    """When the run began, as the runtime folder's record says."""
    return float(json.loads((server.runtime_folder / "folder.lock").read_text())["since"])


def comparable(metrics: Metrics) -> Metrics:
    return {key: value for key, value in metrics.items() if not key[0].startswith(OWN)}


def test_what_is_pushed_is_what_is_scraped(serve: Serve, sink: Sink) -> None:
    """Every series of the page arrives under its name with its value, from one instance."""
    server = serve(env=environment(sink), workers=3)
    for _ in range(20):
        server.get("/avatar/abc")
        server.get("/stream")
    server.await_requests(40)
    pushed(sink, 40)
    page = server.metrics()
    assert comparable(sink.latest()) == comparable(page)
    names = {name for name, _ in page} - {"target_info"}
    assert names - {name for name, _ in sink.latest()} == set()
    resources = [attributes(each.resource_metrics[0].resource) for each in sink.requests]
    assert all(each == resources[0] for each in resources)
    assert resources[0]["deployment.environment.name"] == "development"


def test_takeover_after_sigkill(serve: Serve, sink: Sink) -> None:
    """The leader dies by SIGKILL: another goes on, nothing begins anew, nothing goes back."""
    server = serve(env=environment(sink), workers=3)
    for _ in range(10):
        server.get("/avatar/abc")
    pushed(sink, 10, **AVATARS)
    dead = the_leader(server)
    server.signal(signal.SIGKILL, dead)
    eventually(lambda: not is_running(dead))
    server.await_workers(3, without=[dead])
    before = len(sink.requests)
    for _ in range(10):
        server.get("/avatar/abc")
    pushed(sink, 20, **AVATARS)
    assert the_leader(server) != dead
    assert len(sink.requests) > before
    assert server.value("avatar_telemetry_leader") == 1
    assert_goes_on(sink)


def assert_goes_on(sink: Sink) -> None:
    """Each series of a sum or histogram has one start, before its points, and only grows.

    The processor time is that of one master and its workers, so it may differ after an upgrade.
    """
    seen: dict[tuple[str, frozenset[tuple[str, str]]], Any] = {}
    for metric, point, kind in sink.points():
        if kind == "gauge" or metric.name == "process_cpu_seconds_total":
            continue
        assert getattr(metric, kind).aggregation_temporality == CUMULATIVE
        key = metric.name, frozenset(attributes(point).items())
        last = seen.get(key, point)
        assert 0 < point.start_time_unix_nano == last.start_time_unix_nano
        assert point.start_time_unix_nano < point.time_unix_nano >= last.time_unix_nano
        assert value_of(point, kind) >= value_of(last, kind)
        seen[key] = point


def value_of(point: Any, kind: str) -> float:
    return float(point.count if kind == "histogram" else point.as_double)


def test_start_of_a_series(serve: Serve, sink: Sink) -> None:
    """What is there first begins with the run; what comes later after a push without it."""
    server = serve(env=environment(sink))
    server.get("/avatar/abc")
    pushed(sink, 1)
    server.get("/stream")
    pushed(sink, 2)
    starts = {
        attributes(point)["path"]: point.start_time_unix_nano
        for metric, point, _ in sink.points()
        if metric.name == "ivatar_requests_total"
    }
    run = {
        point.start_time_unix_nano
        for metric, point, _ in sink.points()
        if metric.name == "process_cpu_seconds_total"
    }
    assert len(run) == 1
    assert starts["/avatar/{id}"] >= min(run)
    assert starts["other"] > starts["/avatar/{id}"]


def increments(sink: Sink, kind: str = "sum") -> float:
    """What all pushes of the requests add up to."""
    name = {"sum": "ivatar_requests_total", "histogram": "ivatar_request_duration_seconds"}[kind]
    return sum(value_of(point, kind) for metric, point, _ in sink.points() if metric.name == name)


def test_increments_over_leaders(serve: Serve, sink: Sink) -> None:
    """With delta, the increments of all leaders add up to what was counted."""
    delta = {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta"}
    server = serve(env=environment(sink, **delta), workers=2)

    for sent in (10, 20, 30):
        for _ in range(10):
            server.get("/avatar/abc")
        eventually(lambda sent=sent: increments(sink) >= sent)
        dead = the_leader(server)
        server.signal(signal.SIGTERM, dead)
        server.await_workers(2, without=[dead])
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert increments(sink) == sent
    assert increments(sink, "histogram") == sent


def test_end_of_a_leader_does_not_cut_a_push_off(serve: Serve, sink: Sink) -> None:
    """A leader that ends while its increments are on the way waits to note that they arrived."""
    delta = {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta"}
    server = serve(env=environment(sink, **delta))
    await_first_push(sink)
    sink.slow = True
    server.get("/avatar/abc")
    eventually(lambda: increments(sink) >= 1)
    leader = the_leader(server)
    server.signal(signal.SIGTERM, leader)
    server.await_workers(2, without=[leader])
    sink.slow = False
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert increments(sink) == 1


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
def test_upgrade_goes_on(serve: Serve, sink: Sink, temporality: str) -> None:
    """Over an upgrade in place (USR2) series neither begin anew nor count twice."""
    more = {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": temporality}
    server = serve(env=environment(sink, **more))
    server.get("/avatar/abc")
    await_first_push(sink)
    began = since(server)
    old, new = upgrade(server)
    assert since(server) == began
    server.get("/avatar/abc")
    end(server, old)
    server.await_workers(2)
    server.get("/avatar/abc")
    end(server, new)
    if temporality == "delta":
        assert increments(sink) == 3
    else:
        assert total(sink.latest(), "ivatar_requests_total", **AVATARS) == 3
        assert_goes_on(sink)


@pytest.mark.parametrize("worker_class", ["sync", "gthread", "gevent"])
def test_last_push_has_everything(serve: Serve, sink: Sink, worker_class: str) -> None:
    """At the end of the server everything that all workers counted arrives, whatever interval."""
    env = environment(sink, OTEL_METRIC_EXPORT_INTERVAL="3600000")
    server = serve(env=env, workers=3, worker_class=worker_class)
    await_first_push(sink)
    for _ in range(30):
        server.get("/avatar/abc")
    server.await_requests(30)
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert total(sink.latest(), "ivatar_requests_total", **AVATARS) == 30
    assert "failed" not in server.log()


def test_last_push_goes_where_a_reload_has_said(serve: Serve, sink: Sink) -> None:
    """After a reload that names another collector, the last push goes to that one, too."""
    server = serve(env=environment(sink, OTEL_METRIC_EXPORT_INTERVAL="3600000"), workers=2)
    await_first_push(sink)
    with running_sink() as other:
        text = server.configuration.read_text()
        named = f"raw_env = ['OTEL_EXPORTER_OTLP_ENDPOINT={other.url}']"
        server.configuration.write_text(f"{text}\n{named}\n")
        before = set(server.workers())
        server.signal(signal.SIGHUP)
        eventually(lambda: len(server.workers()) == 2 and not before & set(server.workers()))
        for _ in range(5):
            server.get("/avatar/abc")
        server.await_requests(5)
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert total(other.latest(), "ivatar_requests_total", **AVATARS) == 5


def test_switched_off_by_a_reload(serve: Serve, sink: Sink) -> None:
    """What a reload has switched off is not pushed at the end either."""
    server = serve(env=environment(sink, OTEL_METRIC_EXPORT_INTERVAL="3600000"), workers=2)
    await_first_push(sink)
    before = server.await_workers(2)
    text = server.configuration.read_text()
    server.configuration.write_text(f"{text}\nraw_env = ['OTEL_SDK_DISABLED=true']\n")
    server.signal(signal.SIGHUP)
    server.await_other_workers(2, before)
    pushes = len(sink.requests)
    server.get("/avatar/abc")
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert len(sink.requests) == pushes


def test_orphans_push_what_they_have(serve: Serve, sink: Sink, tmp_path: Path) -> None:
    """Where the master was killed the leader itself pushes once more before it goes."""
    env = environment(
        sink,
        OTEL_METRIC_EXPORT_INTERVAL="3600000",
        PROMETHEUS_MULTIPROC_DIR=str(tmp_path / "named"),
    )
    server = serve(env=env, workers=1, timeout=2)  # it looks for its master twice in that time
    await_first_push(sink)
    for _ in range(5):
        server.get("/avatar/abc")
    server.await_requests(5)
    server.signal(signal.SIGKILL)
    pushed(sink, 5, **AVATARS)


@pytest.mark.parametrize("worker_class", ["sync", "gthread", "gevent"])
def test_silent_collector_delays_the_end_by_its_bound(
    serve: Serve, sink: Sink, worker_class: str
) -> None:
    """A collector that takes connections and never answers holds nobody up beyond the bound."""
    sink.held = True
    server = serve(
        env=environment(sink, AVATAR_TELEMETRY_FLUSH_TIMEOUT="0.5"),
        worker_class=worker_class,
        config=METERED,
        graceful_timeout=30,
    )
    assert sink.asked.wait(12)
    assert server.get("/avatar/abc").status == 200
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert "SIGKILL" not in server.log()
    assert not sink.released.is_set()


def test_api_metrics_are_of_their_slot(serve: Serve, sink: Sink) -> None:
    """What code in a worker counts through the API comes from an instance with its slot."""
    server = serve(env=environment(sink), workers=2, config=METERED)

    def counted(instance: str) -> list[float]:
        return [point.as_int for metric, point, _ in sink.points(instance)
                if metric.name == "my_calls"]  # fmt: skip

    for slot in server.slots():
        assert eventually(lambda slot=slot: counted(f"here/{slot}"))[-1] == 2
    assert not [metric for metric, _, _ in sink.points() if metric.name == "my_calls"]


def test_nothing_leaves_unless_asked(serve: Serve, sink: Sink) -> None:
    """With the export off nobody leads, nobody pushes, and the page says so."""
    server = serve(env=environment(sink, OTEL_EXPORT_ENABLED="false"), config=METERED)
    server.get("/avatar/abc")
    server.await_requests(1)
    assert not [name for name, _ in server.metrics() if name == "avatar_telemetry_leader"]
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert not sink.requests


def test_failed_pushes_are_counted_and_hardly_logged(serve: Serve) -> None:
    """With the collector gone, pushes count as failed; all workers log one line, no secret."""
    with running_sink() as gone:
        pass
    env = environment(
        gone,
        OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20sEcret-1",
        OTEL_EXPORTER_OTLP_TIMEOUT="0.2",
    )
    server = serve(env=env, workers=3, config=METERED)
    eventually(lambda: server.value("avatar_telemetry_metric_pushes_total", result="failed") >= 3)
    lines = [line for line in server.log().splitlines() if "export" in line]
    assert len(lines) == 1, lines
    assert "sEcret" not in server.log()
    assert "Traceback" not in server.log()


def test_console(serve: Serve, sink: Sink) -> None:
    """The console exporter prints, alone or beside OTLP."""
    server = serve(env=environment(sink, OTEL_METRICS_EXPORTER="otlp,console"))
    server.get("/avatar/abc")
    pushed(sink, 1)
    eventually(lambda: '"ivatar_requests_total"' in server.log())
