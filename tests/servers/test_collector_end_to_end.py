"""The whole way: the demo under a real gunicorn, a real Collector, a real Prometheus.

Clients know what they did; spans and metrics that arrive are held against that.
"""

from __future__ import annotations

import secrets
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from threading import Lock

import pytest

from avatar_telemetry.exporter.rings import Rings
from tests.support.certificates import Authority
from tests.support.demo_client import Clients, Series, await_tally, comparable
from tests.support.demo_site import demo
from tests.support.gunicorn_server import (
    START,
    Answer,
    GunicornServer,
    Load,
    Metrics,
    Serve,
    eventually,
    total,
)
from tests.support.otlp_fixtures import StartCollector
from tests.support.otlp_grpc_sink import GrpcSink
from tests.support.otlp_records import ReceivedSpan
from tests.support.otlp_sink import OtlpSink
from tests.support.real_collector import COLLECTOR_YAML, DEPLOY, TOKEN, Collector, token_gate
from tests.support.real_prometheus import Prometheus
from tests.support.rows import WORKER_CLASSES, by_default, rows

EXPORT = {
    "OTEL_EXPORT_ENABLED": "true",
    "OTEL_BSP_SCHEDULE_DELAY": "100",
    "OTEL_METRIC_EXPORT_INTERVAL": "500",
    "HOSTNAME": "here",
    # A process that does not get its turn loses nothing, and is sent nothing a second time.
    "OTEL_EXPORTER_OTLP_TIMEOUT": "120",
    "OTEL_METRIC_EXPORT_TIMEOUT": "120000",
    "AVATAR_TELEMETRY_FLUSH_TIMEOUT": "60",
}
OPERATIONS = ("avatar.", "auth.", "file_upload.")
Shown = Callable[[], Metrics]
WAYS_IN = [
    pytest.param(guard, protocol, compression, id=f"{guard}-{protocol}-{compression}")
    for guard in ("open", "tls", "token")
    for protocol in ("http/protobuf", "grpc")
    for compression in ("none", "gzip")
]


@pytest.mark.parametrize("way", by_default("collector", rows("collector", "prometheus")))
def test_what_arrives_is_what_the_clients_did(
    serve: Serve,
    tmp_path: Path,
    memcached: str,
    outside: str,
    running_collector: Collector,
    trace_store: GrpcSink,
    request: pytest.FixtureRequest,
    way: str,
) -> None:
    """One server span a request, each metric the clients' tally on every way, over a kill."""
    env = {**EXPORT, "OTEL_EXPORTER_OTLP_ENDPOINT": running_collector.otlp_http}
    shown: Shown = running_collector.series
    if way == "prometheus":
        receiver: Prometheus = request.getfixturevalue("receiving_prometheus")
        env["OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"] = f"{receiver.otlp}/v1/metrics"
        shown = lambda: receiver.series('{instance="here"}')  # noqa: E731 - one of two
    server = demo(
        serve, tmp_path, memcached, outside, env, max_requests=120, max_requests_jitter=40
    )
    with Clients(server.request, 4, 100, random_state=len(way)) as first:
        pass
    expected = first.tally().counts
    await_tally(shown, expected)
    eventually(lambda: len(server_spans(trace_store)) >= requests(expected), what="the spans")
    kill_the_exporter(server)
    with Clients(server.request, 4, 100, random_state=-len(way)) as second:
        pass
    expected.update(second.tally().counts)
    await_tally(shown, expected)
    await_tally(server.metrics, expected)
    eventually(lambda: named(shown()) == named(server.metrics()), what="the series of the page")
    eventually(lambda: len(server_spans(trace_store)) >= requests(expected), what="the spans")
    eventually(lambda: not waiting_spans(server.runtime_folder), what="the end of the rings")
    running_collector.stop()  # what it has received goes through its pipelines first
    assert_one_span_a_request(running_collector, trace_store, requests(expected))
    if way == "prometheus":
        assert set(
            receiver.vector('resets(ivatar_requests_total{instance="here"}[10m])').values()
        ) == {0.0}


def kill_the_exporter(server: GunicornServer) -> None:
    """Kill it when it has noted all that arrived: the next one would send the rest again."""
    eventually(lambda: not waiting_spans(server.runtime_folder), what="the end of the rings")
    server.kill_exporter()


def waiting_spans(folder: Path) -> int:
    rings = Rings(folder, "spans", lambda: None)
    try:
        rings.refresh()
        return rings.waiting()
    finally:
        rings.close()


def assert_one_span_a_request(collector: Collector, store: GrpcSink, number: int) -> None:
    """As many server spans as requests, each a trace of its own, operations right below them."""
    servers = {span.trace_id: span for span in server_spans(store)}
    spans = store.spans()
    assert len(servers) == len(server_spans(store)) == number
    assert all(span.parent_id == "" for span in servers.values())
    known = {(span.trace_id, span.span_id) for span in spans}
    operations = [
        span for span in spans
        if span.kind == "INTERNAL" and "ivatar.request_type" in span.attributes
    ]  # fmt: skip
    assert number / 2 < len(operations) == len({span.trace_id for span in operations})
    for span in operations:
        assert span.name.startswith(OPERATIONS)
        assert span.parent_id == servers[span.trace_id].span_id, span.name
    for span in spans:
        assert span.kind == "SERVER" or (span.trace_id, span.parent_id) in known, span.name
    assert collector.spans_in_log() == len(spans)


def server_spans(store: GrpcSink) -> list[ReceivedSpan]:
    return [span for span in store.spans() if span.kind == "SERVER"]


def requests(tally: dict[Series, float]) -> int:
    return int(total(tally, "ivatar_requests_total"))


def named(metrics: Metrics) -> set[Series]:
    """The series without ``target_info``, whose labels are the resource."""
    return {key for key in comparable(metrics) if key[0] != "target_info"}


class Traced:
    """Asks with trace ids of its own, and keeps those of requests that were answered."""

    def __init__(self, server: GunicornServer) -> None:
        self._server = server
        self._lock = Lock()
        self.answered: set[str] = set()

    def ask(self) -> Answer:
        trace_id = secrets.token_hex(16)
        parent = {"traceparent": f"00-{trace_id}-{'1' * 16}-01"}
        answer = self._server.get("/avatar/abc", headers=parent)
        with self._lock:
            self.answered.add(trace_id)
        return answer


@pytest.mark.parametrize("worker_class", by_default("gthread", WORKER_CLASSES))
def test_end_under_load(
    serve: Serve, running_collector: Collector, trace_store: GrpcSink, worker_class: str
) -> None:
    """At SIGTERM with clients still asking, the spans of every request that was answered arrive."""
    env = {**EXPORT, "OTEL_EXPORTER_OTLP_ENDPOINT": running_collector.otlp_http,
           "AVATAR_TELEMETRY_TRUST_INCOMING": "continue"}  # fmt: skip
    server = serve("answers:application", workers=4, worker_class=worker_class, env=env)
    traced = Traced(server)
    with Load(traced.ask, clients=8) as load:
        load.await_more(200)
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
    running_collector.stop()  # what it has received goes through its pipelines first

    def missing() -> set[str]:
        return traced.answered - {span.trace_id for span in server_spans(trace_store)}

    assert not missing(), f"{len(missing())} of {len(traced.answered)} did not arrive"


def test_a_warning_goes_through_to_the_log_store(
    serve: Serve, start_collector: StartCollector, sink: OtlpSink
) -> None:
    """What an application logs arrives there once, in its trace and with its environment."""
    collector = start_collector(COLLECTOR_LOG_STORE=sink.url)
    env = {**EXPORT, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.otlp_http,
           "OTEL_LOGS_EXPORTER": "otlp", "OTEL_ENVIRONMENT": "production"}  # fmt: skip
    server = serve("logging_app:application", workers=2, env=env)
    trace_id = server.get("/shop").text
    (log,) = sink.await_logs(1)
    assert log.proto.trace_id.hex() == trace_id
    assert log.proto.body.string_value == "no picture for REDACTED"
    assert log.resource["environment"] == "production"
    eventually(lambda: server.value("avatar_telemetry_log_records_total", result="exported") == 1)
    collector.stop()
    assert len(sink.logs()) == 1


@pytest.mark.parametrize(("guard", "protocol", "compression"), by_default("tls-grpc-gzip", WAYS_IN))
def test_every_way_in(
    serve: Serve, start_collector: StartCollector, trace_store: GrpcSink, authority: Authority,
    tmp_path: Path, guard: str, protocol: str, compression: str,
) -> None:  # fmt: skip
    """Both protocols reach the Collector plain, with client certificates, and with a token."""
    issued, client = authority.issue("collector"), authority.issue("client")
    overlays = [DEPLOY / f"collector-{guard}.yaml"] if guard != "open" else []
    collector = start_collector(
        COLLECTOR_YAML, *overlays, COLLECTOR_TRACE_STORE=trace_store.address,
        COLLECTOR_CERTIFICATE=str(issued.path), COLLECTOR_KEY=str(issued.key),
        COLLECTOR_CLIENT_AUTHORITY=str(authority.certificate.path),
        COLLECTOR_TRACE_STORE_TOKEN="for-the-store",
    )  # fmt: skip
    urls = [collector.otlp_http, collector.otlp_grpc]
    env = {
        **EXPORT,
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_COMPRESSION": compression,
    }
    with ExitStack() as servers:
        if guard == "token":
            urls = list(servers.enter_context(token_gate(tmp_path, issued, collector)))
            env["OTEL_EXPORTER_OTLP_HEADERS"] = f"authorization=Bearer%20{TOKEN}"
        if guard != "open":
            urls = [url.replace("http:", "https:") for url in urls]
            env["OTEL_EXPORTER_OTLP_CERTIFICATE"] = str(authority.certificate.path)
        if guard == "tls":
            env["OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"] = str(client.path)
            env["OTEL_EXPORTER_OTLP_CLIENT_KEY"] = str(client.key)
        env["OTEL_EXPORTER_OTLP_ENDPOINT"] = urls[protocol == "grpc"]
        server = serve("answers:application", env=env)
        for _ in range(20):
            server.get("/avatar/abc")
        trace_store.await_spans(40)
        eventually(
            lambda: total(collector.series(), "ivatar_requests_total") == 20, what="the metrics"
        )
        log = server.log().splitlines()
        assert not [line for line in log if "xport" in line and START not in line]
