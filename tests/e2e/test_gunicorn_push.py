"""Metrics over OTLP from a real gunicorn: who pushes, what, from when, and until when."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.gunicorn_server import (
    AVATARS,
    DEADLINE,
    START,
    GunicornServer,
    Metrics,
    Serve,
    await_port,
    eventually,
    scrape_port,
    total,
)
from tests.support.otlp_faults import Fault
from tests.support.otlp_records import INSTANCE, plain
from tests.support.otlp_sink import OtlpSink
from tests.support.pushed_metrics import (
    api_metrics,
    assert_goes_on,
    environment,
    latest,
    points,
    pushed,
    value_of,
)
from tests.support.rows import WORKER_CLASSES, by_default, rows

# These are read at another moment on the page than in a push, or count the pushes.
OWN = ("process_", "gunicorn_", "avatar_telemetry_", "target_info")
METERED = """
def post_worker_init(worker):
    from opentelemetry import metrics
    counter = metrics.get_meter("mine").create_counter("my_calls")
    counter.add(2)
"""


def await_first_push(sink: OtlpSink) -> None:
    """Wait for the push that the exporter makes when it starts."""
    eventually(lambda: sink.exchanges(), what="the first push")


def since(server: GunicornServer) -> float:
    """When the run began, as the runtime folder's record says."""
    return float(json.loads((server.runtime_folder / "folder.lock").read_text())["since"])


def comparable(metrics: Metrics) -> Metrics:
    return {key: value for key, value in metrics.items() if not key[0].startswith(OWN)}


def test_what_is_pushed_is_what_is_scraped(serve: Serve, sink: OtlpSink) -> None:
    """Every series of the page arrives under its name with its value, from one instance."""
    server = serve(env=environment(sink.url), workers=3)
    for _ in range(20):
        server.get("/avatar/abc")
        server.get("/stream")
    server.await_requests(40)
    page = server.metrics()
    # A push may read the last request half counted.
    eventually(lambda: comparable(latest(sink)) == comparable(page), what="a push of the page")
    names = {name for name, _ in page} - {"target_info"}
    eventually(lambda: names <= {name for name, _ in latest(sink)}, what="a push of all names")
    resources = [plain(each.resource.attributes) for each in sink.resource_metrics()]
    assert all(each == resources[0] for each in resources)
    assert resources[0]["deployment.environment.name"] == "development"


def test_takeover_after_sigkill(serve: Serve, sink: OtlpSink) -> None:
    """The exporter is killed: another goes on, no series begins anew, no count goes back."""
    server = serve(env=environment(sink.url), workers=3)
    for _ in range(10):
        server.get("/avatar/abc")
    pushed(sink, 10, **AVATARS)
    server.kill_exporter()
    for _ in range(10):
        server.get("/avatar/abc")
    pushed(sink, 20, **AVATARS)
    assert server.value("avatar_telemetry_exporter_up") == 1
    assert_goes_on(sink)


def test_start_of_a_series(serve: Serve, sink: OtlpSink) -> None:
    """What is there first begins with the run; what comes later after a push without it."""
    server = serve(env=environment(sink.url))
    server.get("/avatar/abc")
    pushed(sink, 1)
    server.get("/stream")
    pushed(sink, 2)
    starts = {
        plain(point.attributes)["path"]: point.start_time_unix_nano
        for metric, point, _ in points(sink)
        if metric.name == "ivatar_requests_total"
    }
    run = {
        point.start_time_unix_nano
        for metric, point, _ in points(sink)
        if metric.name == "process_cpu_seconds_total"
    }
    assert len(run) == 1
    assert starts["/avatar/{id}"] >= min(run)
    assert starts["other"] > starts["/avatar/{id}"]


def increments(sink: OtlpSink, kind: str = "sum") -> float:
    """What all pushes of the requests add up to."""
    name = {"sum": "ivatar_requests_total", "histogram": "ivatar_request_duration_seconds"}[kind]
    return sum(value_of(point, kind) for metric, point, _ in points(sink) if metric.name == name)


def test_increments_over_exporters(serve: Serve, sink: OtlpSink) -> None:
    """With delta, the increments of all exporters add up to what was counted."""
    delta = {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta"}
    server = serve(env=environment(sink.url, **delta), workers=2)

    for sent in (10, 20, 30):
        for _ in range(10):
            server.get("/avatar/abc")
        eventually(lambda sent=sent: increments(sink) >= sent)
        first = len(sink.exchanges())
        eventually(lambda first=first: len(sink.exchanges()) > first + 1)  # what arrived is noted
        server.kill_exporter()
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert increments(sink) == sent
    assert increments(sink, "histogram") == sent


def test_new_settings_do_not_cut_a_push_off(serve: Serve, sink: OtlpSink, port: int) -> None:
    """An exporter whose increments are on the way waits to note that they arrived."""
    delta = {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta"}
    page = {"OTEL_PROMETHEUS_ENDPOINT": f"127.0.0.1:{port}"}
    server = serve(env=environment(sink.url, **delta, **page))
    await_first_push(sink)
    await_port(port)
    held: dict[str, Any] = {"fault": Fault.SLOW, "seconds": DEADLINE}
    sink.behave(**held)
    eventually(lambda: any(each.fault == Fault.SLOW for each in sink.exchanges()))
    server.get("/avatar/abc")
    sink.behave(**held)  # the push of before goes, and the next one has the request
    eventually(lambda: increments(sink) >= 1)
    server.reload(OTEL_BSP_SCHEDULE_DELAY="4000")
    eventually(lambda: scrape_port(port)[0] == 0, what="the beginning of its end")
    sink.behave()
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert increments(sink) == 1


@pytest.mark.parametrize("temporality", by_default("cumulative", rows("cumulative", "delta")))
def test_upgrade_goes_on(serve: Serve, sink: OtlpSink, temporality: str) -> None:
    """Over an upgrade in place (USR2) series neither begin anew nor count twice."""
    more = {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": temporality}
    server = serve(env=environment(sink.url, **more))
    server.get("/avatar/abc")
    await_first_push(sink)
    began = since(server)
    old, new = server.upgrade()
    assert since(server) == began
    server.get("/avatar/abc")
    server.end(old)
    server.await_workers(2)
    server.get("/avatar/abc")
    server.end(new)
    if temporality == "delta":
        assert increments(sink) == 3
    else:
        assert total(latest(sink), "ivatar_requests_total", **AVATARS) == 3
        assert_goes_on(sink)


@pytest.mark.parametrize("worker_class", by_default("gthread", WORKER_CLASSES))
def test_last_push_has_everything(serve: Serve, sink: OtlpSink, worker_class: str) -> None:
    """At the end of the server everything that all workers counted arrives, whatever interval."""
    env = environment(sink.url, OTEL_METRIC_EXPORT_INTERVAL="3600000")
    server = serve(env=env, workers=3, worker_class=worker_class)
    await_first_push(sink)
    for _ in range(30):
        server.get("/avatar/abc")
    server.await_requests(30)
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert total(latest(sink), "ivatar_requests_total", **AVATARS) == 30
    log = server.log()
    assert "failed" not in log and "internal telemetry error" not in log


def test_last_push_goes_where_a_reload_has_said(serve: Serve, sink: OtlpSink) -> None:
    """After a reload that names another collector, the last push goes to that one, too."""
    server = serve(env=environment(sink.url, OTEL_METRIC_EXPORT_INTERVAL="3600000"), workers=2)
    await_first_push(sink)
    with OtlpSink() as other:
        server.reload(OTEL_EXPORTER_OTLP_ENDPOINT=other.url)
        for _ in range(5):
            server.get("/avatar/abc")
        server.await_requests(5)
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert total(latest(other), "ivatar_requests_total", **AVATARS) == 5


def test_switched_off_by_a_reload(serve: Serve, sink: OtlpSink) -> None:
    """What a reload has switched off is not pushed at the end either."""
    server = serve(env=environment(sink.url, OTEL_METRIC_EXPORT_INTERVAL="3600000"), workers=2)
    await_first_push(sink)
    before = server.await_workers(2)
    server.set_raw_env(OTEL_SDK_DISABLED="true")
    server.signal(signal.SIGHUP)
    server.await_other_workers(2, before)
    pushes = len(sink.exchanges())
    server.get("/avatar/abc")
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert len(sink.exchanges()) == pushes


def test_orphans_push_what_they_have(serve: Serve, sink: OtlpSink, tmp_path: Path) -> None:
    """Where the master was killed the exporter pushes once more when its workers have ended."""
    env = environment(
        sink.url,
        OTEL_METRIC_EXPORT_INTERVAL="3600000",
        PROMETHEUS_MULTIPROC_DIR=str(tmp_path / "named"),
    )
    server = serve(env=env, workers=1)
    await_first_push(sink)
    for _ in range(5):
        server.get("/avatar/abc")
    server.await_requests(5)
    server.signal(signal.SIGKILL)
    server.await_end_of_orphans()
    pushed(sink, 5, **AVATARS)


@pytest.mark.parametrize("worker_class", by_default("gevent", WORKER_CLASSES))
def test_silent_collector_delays_the_end_by_its_bound(
    serve: Serve, sink: OtlpSink, worker_class: str
) -> None:
    """A collector that takes connections and never answers holds nobody up beyond the bound."""
    sink.behave(Fault.BLACKHOLE)
    server = serve(
        env=environment(sink.url, AVATAR_TELEMETRY_FLUSH_TIMEOUT="0.5"),
        worker_class=worker_class,
        config=METERED,
        graceful_timeout=30,
    )
    sink.await_exchanges(1)
    assert server.get("/avatar/abc").status == 200
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert "SIGKILL" not in server.log()


def test_api_metrics_are_merged(serve: Serve, sink: OtlpSink) -> None:
    """What code in workers counts through the API is pushed once, summed over all of them."""
    server = serve(env=environment(sink.url), workers=2, config=METERED)
    mine = ("my_calls_total", frozenset({("otel_scope_name", "mine")}))
    eventually(lambda: api_metrics(sink).get(mine) == 4)
    assert server.metrics()[mine] == 4
    instances = {plain(each.resource.attributes)[INSTANCE] for each in sink.resource_metrics()}
    assert instances == {"here"}


def test_nothing_leaves_unless_asked(serve: Serve, sink: OtlpSink) -> None:
    """With the export off nothing is pushed, and the page does not speak of an exporter."""
    server = serve(env=environment(sink.url, OTEL_EXPORT_ENABLED="false"), config=METERED)
    server.get("/avatar/abc")
    server.await_requests(1)
    assert not [name for name, _ in server.metrics() if name == "avatar_telemetry_exporter_up"]
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert not sink.exchanges()


def test_failed_pushes_are_counted_and_hardly_logged(serve: Serve, port: int) -> None:
    """With the collector gone, pushes count as failed; all workers log one line, no secret."""
    env = environment(
        f"http://127.0.0.1:{port}",
        OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20sEcret-1",
        OTEL_EXPORTER_OTLP_TIMEOUT="0.2",
    )
    server = serve(env=env, workers=3, config=METERED)
    eventually(lambda: server.value("avatar_telemetry_metric_pushes_total", result="failed") >= 3)
    log = server.log().splitlines()
    lines = [line for line in log if "export" in line and START not in line]
    assert len(lines) == 1, lines
    assert "sEcret" not in server.log()
    assert "Traceback" not in server.log()


def test_console(serve: Serve, sink: OtlpSink) -> None:
    """The console exporter prints, alone or beside OTLP."""
    server = serve(env=environment(sink.url, OTEL_METRICS_EXPORTER="otlp,console"))
    server.get("/avatar/abc")
    pushed(sink, 1)
    eventually(lambda: '"ivatar_requests_total"' in server.log())
