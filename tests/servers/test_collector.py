"""The collector's configurations, run by a real collector that official exporters send to."""

from __future__ import annotations

import subprocess
from pathlib import Path

import grpc
import pytest
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import (
    OTLPLogExporter as GrpcLogExporter,
)
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (
    OTLPMetricExporter as GrpcMetricExporter,
)
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (
    OTLPSpanExporter as GrpcSpanExporter,
)
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

from tests.support.certificates import Authority, Certificate
from tests.support.otlp_fixtures import StartCollector
from tests.support.otlp_grpc_sink import GrpcSink
from tests.support.otlp_sink import OtlpSink
from tests.support.real_collector import (
    COLLECTOR_YAML,
    DEPLOY,
    TOKEN,
    Collector,
    built_otelcol,
    parse_spans,
    token_gate,
)
from tests.support.real_prometheus import Prometheus, prometheus
from tests.support.rows import by_default, rows
from tests.support.sdk_sources import make_logs, make_metrics, make_spans, send
from tests.support.waiting import eventually

VARIANTS = sorted(DEPLOY.glob("collector-*.yaml"))
LABELS = frozenset({("method", "GET"), ("status_code", "200"), ("path", "/avatar/{digest}")})
DEBUG_OUTPUT = """\
2026-11-25T01:32:59.985Z	info	ResourceSpans #0
Resource SchemaURL:
Resource attributes:
     -> service.name: Str(one)
ScopeSpans #0
ScopeSpans SchemaURL:
InstrumentationScope x
InstrumentationScope attributes:
     -> scope: Str(x)
Span #0
    Trace ID       : 70b4
    Parent ID      :
    ID             : 6e74
    Name           : GET /
    Kind           : Server
    Status code    : Error
Attributes:
     -> http.url: Str(http://localhost:80/)
	{"otelcol.component.id": "debug", "otelcol.signal": "traces"}
2026-11-25T01:33:00.985Z	info	ResourceSpans #0
Resource SchemaURL:
Resource attributes:
     -> service.name: Str(two)
ScopeSpans #0
Span #0
    Trace ID       : 70b4
    Parent ID      : 6e74
    ID             : 6e75
    Name           : inner
    Kind           : Internal
    Status code    : Unset
	{"otelcol.component.id": "debug", "otelcol.signal": "traces"}
2026-11-25T01:33:01.985Z	info	ResourceMetrics #0
Resource attributes:
     -> service.name: Str(metrics)
Data point attributes:
     -> method: Str(GET)
	{"otelcol.component.id": "debug", "otelcol.signal": "metrics"}
2026-11-25T01:33:02.985Z	info	ResourceSpans #0
Resource attributes:
     -> service.name: Str(three)
Span #0
    Name           : inner
Events:
SpanEvent #0
     -> Name: exception
     -> stray: Str(KeyError)
"""


@pytest.mark.parametrize("variant", [None, *VARIANTS], ids=lambda each: each.stem if each else "")
def test_a_configuration_is_valid(variant: Path | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The collector itself finds nothing wrong with any of them, with the usual values."""
    monkeypatch.setenv("COLLECTOR_TRACE_STORE_TOKEN", TOKEN)
    monkeypatch.setenv("COLLECTOR_LOG_STORE_TOKEN", TOKEN)
    overlay = ["--config", str(variant)] if variant else []
    command = [str(built_otelcol()), "validate", "--config", str(COLLECTOR_YAML), *overlay]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_files_are_what_is_expected() -> None:
    """No variant is forgotten by the table above."""
    assert [path.stem for path in VARIANTS] == [
        "collector-tail-sampling", "collector-tls", "collector-token",
    ]  # fmt: skip


def test_debug_output_is_taken_apart() -> None:
    """Each span has its own resource and attributes; those of scopes and events are not its own."""
    first, second, third = parse_spans(DEBUG_OUTPUT)
    assert first.resource == {"service.name": "one"}
    assert second.resource == {"service.name": "two"}
    assert third.resource == {"service.name": "three"}
    assert third.attributes == {}
    assert (first.name, first.parent_id, first.status) == ("GET /", "", "Error")
    assert first.attributes == {"http.url": "http://localhost:80/"}
    assert (second.name, second.parent_id, second.attributes) == ("inner", "6e74", {})


@pytest.mark.parametrize("protocol", by_default("grpc", rows("http", "grpc")))
def test_spans_go_through(
    running_collector: Collector, trace_store: GrpcSink, protocol: str
) -> None:
    """They stand in the debug output and in the trace store, with the environment that it adds."""
    exporter = (
        OTLPSpanExporter(f"{running_collector.otlp_http}/v1/traces") if protocol == "http"
        else GrpcSpanExporter(running_collector.otlp_grpc, insecure=True)
    )  # fmt: skip
    made = make_spans(3)
    assert send(exporter, made)
    shown = running_collector.await_spans(6)
    assert running_collector.spans_in_log() == 6
    assert {span.span_id for span in shown} == {f"{each.context.span_id:016x}" for each in made}
    operation, server = shown[:2]
    assert (operation.name, operation.kind) == ("avatar.generate_png", "Internal")
    assert (server.name, server.kind, server.status) == ("GET /avatar/{digest}", "Server", "Unset")
    assert operation.parent_id == server.span_id and server.parent_id == ""
    assert server.attributes == {"http.method": "GET", "ivatar.avatar_size": "80"}
    assert server.resource["environment"] == server.resource["deployment.environment"] == "testing"
    stored = trace_store.await_spans(6)
    assert {span.span_id for span in stored} == {span.span_id for span in shown}
    assert stored[0].resource["environment"] == "testing"


@pytest.mark.parametrize("protocol", by_default("http", rows("http", "grpc")))
def test_metrics_wait_for_prometheus(shared_collector: Collector, protocol: str) -> None:
    """They keep their names and values; the resource is on ``target_info``."""
    exporter = (
        OTLPMetricExporter(f"{shared_collector.otlp_http}/v1/metrics") if protocol == "http"
        else GrpcMetricExporter(shared_collector.otlp_grpc, insecure=True)
    )  # fmt: skip
    count = len(protocol)  # the same collector has the numbers of other tests
    assert send(exporter, make_metrics(count, [0.02, 0.3]))
    shared_collector.await_sample("ivatar_requests_total", LABELS, count)
    series = shared_collector.series()
    assert series["ivatar_request_duration_seconds_count", LABELS] == 2
    assert series["ivatar_request_duration_seconds_bucket", LABELS | {("le", "0.1")}] == 1
    info = next(dict(labels) for name, labels in series if name == "target_info")
    assert info["environment"] == "testing"
    assert 'job="ivatar-test"' in shared_collector.page()
    assert 'instance="host-1"' in shared_collector.page()


@pytest.mark.parametrize("protocol", by_default("http", rows("http", "grpc")))
def test_logs_go_to_their_store(
    start_collector: StartCollector, sink: OtlpSink, protocol: str
) -> None:
    """They stand in the debug output and in the log store, with the environment that it adds."""
    collector = start_collector(COLLECTOR_LOG_STORE=sink.url)
    exporter = (
        OTLPLogExporter(f"{collector.otlp_http}/v1/logs") if protocol == "http"
        else GrpcLogExporter(collector.otlp_grpc, insecure=True)
    )  # fmt: skip
    assert send(exporter, make_logs("no picture", "no disk"))
    stored = sink.await_logs(2)
    assert [each.proto.body.string_value for each in stored] == ["no picture", "no disk"]
    assert stored[0].resource["environment"] == "testing"
    assert (stored[0].proto.severity_text, stored[0].scope) == ("WARN", "tests")
    eventually(lambda: "Body: Str(no picture)" in collector.log.read_text(), "the debug output")


def test_a_collector_that_was_killed_comes_back(running_collector: Collector) -> None:
    """On the same ports; nobody listens there meanwhile."""
    url = f"{running_collector.otlp_http}/v1/traces"
    assert send(OTLPSpanExporter(url), make_spans())
    running_collector.await_spans(2)
    running_collector.kill()
    assert not send(OTLPSpanExporter(url, timeout=0.5), make_spans())
    running_collector.start()
    assert send(OTLPSpanExporter(url), make_spans(2))
    assert len(running_collector.await_spans(6)) == 6


def test_tls_with_client_certificates(
    start_collector: StartCollector,
    trace_store: GrpcSink,
    sink: OtlpSink,
    authority: Authority,
) -> None:
    """Who has a certificate of the authority gets in, by both protocols; nobody else does."""
    server, client = authority.issue("collector"), authority.issue("client")
    collector = start_collector(
        COLLECTOR_YAML, DEPLOY / "collector-tls.yaml",
        COLLECTOR_TRACE_STORE=trace_store.address, COLLECTOR_CERTIFICATE=str(server.path),
        COLLECTOR_KEY=str(server.key), COLLECTOR_CLIENT_AUTHORITY=str(authority.certificate.path),
        COLLECTOR_LOG_STORE=sink.url,
    )  # fmt: skip
    url = collector.otlp_http.replace("http:", "https:") + "/v1/traces"
    trusting = {"certificate_file": str(authority.certificate.path)}
    known = {"client_certificate_file": str(client.path), "client_key_file": str(client.key)}
    assert send(OTLPSpanExporter(url, **trusting, **known), make_spans())
    assert send(_grpc_exporter(collector.otlp_grpc, authority, client), make_spans())
    assert len(trace_store.await_spans(4)) == 4
    logs = url.replace("traces", "logs")
    assert send(OTLPLogExporter(logs, **trusting, **known), make_logs("no picture"))
    assert len(sink.await_logs(1)) == 1
    assert not send(OTLPSpanExporter(url, **trusting, timeout=1.0), make_spans())
    assert not send(_grpc_exporter(collector.otlp_grpc, authority, None), make_spans())


def test_a_bearer_token(
    start_collector: StartCollector,
    trace_store: GrpcSink,
    sink: OtlpSink,
    authority: Authority,
    tmp_path: Path,
) -> None:
    """nginx lets in who has the token; each store is given one of the collector's own."""
    collector = start_collector(
        COLLECTOR_YAML, DEPLOY / "collector-token.yaml",
        COLLECTOR_TRACE_STORE=trace_store.address, COLLECTOR_TRACE_STORE_TOKEN="for-the-store",
        COLLECTOR_LOG_STORE=sink.url, COLLECTOR_LOG_STORE_TOKEN="for-the-logs",
    )  # fmt: skip
    with token_gate(tmp_path, authority.issue("collector"), collector) as (http_url, grpc_url):
        url = f"{http_url}/v1/traces"
        options = {"certificate_file": str(authority.certificate.path)}
        for wrong in ({}, {"authorization": "Bearer another"}):
            exporter = OTLPSpanExporter(url, headers=wrong, **options)
            assert not send(exporter, make_spans())
            assert not send(_grpc_exporter(grpc_url, authority, None, wrong), make_spans())
        right = {"authorization": f"Bearer {TOKEN}"}
        assert send(OTLPSpanExporter(url, headers=right, **options), make_spans(2))
        assert send(_grpc_exporter(grpc_url, authority, None, right), make_spans(3))
        logs = f"{http_url}/v1/logs"
        assert send(OTLPLogExporter(logs, headers=right, **options), make_logs("no picture"))
    assert len(trace_store.await_spans(10)) == 10
    sent = {each.headers["authorization"] for each in trace_store.exchanges()}
    assert sent == {"Bearer for-the-store"}
    assert len(sink.await_logs(1)) == 1
    assert {each.headers["authorization"] for each in sink.exchanges()} == {"Bearer for-the-logs"}


def test_tail_sampling(start_collector: StartCollector, trace_store: GrpcSink) -> None:
    """Errors and slow requests are kept, whole; of the rest only the share, here none."""
    collector = start_collector(
        COLLECTOR_YAML, DEPLOY / "collector-tail-sampling.yaml",
        COLLECTOR_TRACE_STORE=trace_store.address, COLLECTOR_DECISION_WAIT="1s",
        COLLECTOR_SLOW_MS="500", COLLECTOR_SHARE_PERCENT="0",
    )  # fmt: skip
    exporter = OTLPSpanExporter(f"{collector.otlp_http}/v1/traces")
    ordinary, failed = make_spans(20, seconds=0.4), make_spans(3, failed=True)
    assert send(exporter, [*ordinary, *failed, *make_spans(4, seconds=0.6)])
    kept = trace_store.await_spans(14)
    collector.stop()  # what was undecided is decided now
    assert len(trace_store.spans()) == len(kept) == 14
    unwanted = {f"{span.context.span_id:016x}" for span in ordinary}
    assert unwanted.isdisjoint(span.span_id for span in kept)


def test_a_prometheus_takes_metrics_over_otlp(receiving_prometheus: Prometheus) -> None:
    """Its own receiver keeps names and values, and says whose they are by job and instance."""
    server = receiving_prometheus
    exporter = OTLPMetricExporter(f"{server.otlp}/v1/metrics")
    assert send(exporter, make_metrics(3, [0.02, 0.3]))
    (found,) = server.query('ivatar_requests_total{instance="host-1"}')
    assert found["value"][1] == "3"
    assert (found["metric"]["job"], found["metric"]["instance"]) == ("ivatar-test", "host-1")
    ((labels, _),) = server.vector('ivatar_requests_total{instance="host-1"}').items()
    below = server.vector('ivatar_request_duration_seconds_bucket{instance="host-1", le="0.1"}')
    assert below == {labels | {("le", "0.1")}: 1.0}


def test_a_prometheus_scrapes_the_collector(shared_collector: Collector, tmp_path: Path) -> None:
    """What was pushed to the collector comes to Prometheus with its names and values."""
    exporter = OTLPMetricExporter(f"{shared_collector.otlp_http}/v1/metrics")
    assert send(exporter, make_metrics(7))
    shared_collector.await_sample("ivatar_requests_total", LABELS, 7)
    target = shared_collector.metrics_url.removeprefix("http://").removesuffix("/metrics")
    with prometheus(tmp_path, target) as server:
        server.await_samples("ivatar_requests_total")
        assert list(server.vector("ivatar_requests_total").values()) == [7.0]
        by_environment = (
            "sum by (path) (ivatar_requests_total * on (job, instance) group_left ()"
            ' target_info{environment="%s"})'
        )
        path = frozenset({("path", "/avatar/{digest}")})
        assert server.vector(by_environment % "testing") == {path: 7.0}
        assert server.vector(by_environment % "production") == {}


def _grpc_exporter(
    url: str,
    authority: Authority,
    client: Certificate | None,
    headers: dict[str, str] | None = None,
) -> GrpcSpanExporter:
    credentials = grpc.ssl_channel_credentials(
        authority.certificate.path.read_bytes(),
        client.key.read_bytes() if client else None,
        client.path.read_bytes() if client else None,
    )
    return GrpcSpanExporter(
        url.replace("http:", "https:"), credentials=credentials, headers=headers,
        timeout=None if client or headers else 1,
    )  # fmt: skip
