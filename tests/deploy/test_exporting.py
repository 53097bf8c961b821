"""What docs/exporting.md says is sent in the form that it says, to a local server."""

from __future__ import annotations

import gzip
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from promtool import REPOSITORY

from avatar_telemetry.settings import Settings

TEXT = (REPOSITORY / "docs" / "exporting.md").read_text(encoding="utf-8")
BLOCKS = [
    dict(line.split("=", 1) for line in block.splitlines())
    for block in re.findall(r"```sh\n(.*?)\n```", TEXT, re.DOTALL)
]
COLLECTOR, NEW_RELIC, AGENT, INTAKE = BLOCKS
DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE


class Sink(ThreadingHTTPServer):
    """Takes OTLP over HTTP and keeps what came."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Keep)
        self.requests: list[tuple[str, dict[str, str], bytes]] = []


class _Keep(BaseHTTPRequestHandler):
    server: Sink

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.requests.append((self.path, headers, body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """A request is no news."""


@pytest.fixture
def sink() -> Iterator[Sink]:
    """A server of the test's own."""
    server = Sink()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def export(environment: dict[str, str], sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send a counter and a histogram as the environment says, but to the sink."""
    for name, value in environment.items():
        local = re.sub(r"https?://[^/]+", f"http://127.0.0.1:{sink.server_port}", value)
        monkeypatch.setenv(name, local)
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(), export_interval_millis=3_600_000)
    provider = MeterProvider([reader])
    meter = provider.get_meter("test")
    meter.create_counter("ivatar_requests_total").add(1)
    meter.create_histogram("ivatar_request_duration_seconds", "s").record(0.1)
    provider.shutdown()


def temporalities(body: bytes) -> set[Any]:
    """Of every sum and histogram of a request."""
    request = ExportMetricsServiceRequest.FromString(body)
    metrics = [
        metric for resource in request.resource_metrics for scope in resource.scope_metrics
        for metric in scope.metrics
    ]  # fmt: skip
    assert {metric.name for metric in metrics} == {
        "ivatar_requests_total", "ivatar_request_duration_seconds"
    }  # fmt: skip
    return {getattr(each, each.WhichOneof("data")).aggregation_temporality for each in metrics}


@pytest.mark.parametrize(
    ("environment", "headers", "temporality"),
    [
        pytest.param(COLLECTOR, {}, CUMULATIVE, id="collector"),
        pytest.param(
            NEW_RELIC, {"api-key": "your-licence-key", "content-encoding": "gzip"}, DELTA,
            id="new relic",
        ),
        pytest.param(AGENT, {}, DELTA, id="datadog agent"),
        pytest.param(INTAKE, {"dd-api-key": "your-api-key"}, DELTA, id="datadog intake"),
    ],
)  # fmt: skip
def test_the_request_has_the_form_that_the_service_takes(
    environment: dict[str, str],
    headers: dict[str, str],
    temporality: Any,
    sink: Sink,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Path, key, encoding and temporality are what the text promises."""
    export(environment, sink, monkeypatch)
    ((path, seen, body),) = sink.requests
    assert path == "/v1/metrics"
    assert seen["content-type"] == "application/x-protobuf"
    assert seen.items() >= headers.items()
    assert temporalities(body) == {temporality}


@pytest.mark.parametrize("environment", BLOCKS)
def test_the_server_starts_with_it(environment: dict[str, str]) -> None:
    """Every line is a setting with a value that is allowed."""
    assert Settings.from_env(environment).export_enabled
