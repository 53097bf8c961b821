"""Which exporters the settings make, and with which options."""

from __future__ import annotations

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter

from avatar_telemetry import Settings
from avatar_telemetry.config.destinations import pushes_metrics, settled
from avatar_telemetry.config.otlp import resolve
from avatar_telemetry.exporter.metric_exporters import metric_exporters
from tests.support.otlp_faults import Fault
from tests.support.otlp_fixtures import sink  # noqa: F401 - fixture
from tests.support.otlp_sink import OtlpSink
from tests.support.requirements import require
from tests.support.sdk_sources import make_metrics, send

ENABLED = {"OTEL_EXPORT_ENABLED": "true"}
GRPC = "http://collector.internal:4317"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
METRICS_ENDPOINT = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"
PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"


@pytest.mark.parametrize(
    ("environ", "installed", "protocol", "endpoint", "said"),
    [
        pytest.param({}, False, "http/protobuf", "http://localhost:4318/v1/metrics", "",
                     id="nothing set"),
        pytest.param({ENDPOINT: GRPC}, True, "grpc", GRPC, "so gRPC is spoken", id="4317, gRPC"),
        pytest.param({ENDPOINT: GRPC}, False, "http/protobuf",
                     "http://collector.internal:4318/v1/metrics", "4318 instead", id="4317, HTTP"),
        pytest.param({METRICS_ENDPOINT: GRPC}, False, "http/protobuf",
                     "http://collector.internal:4318/v1/metrics", "4318 instead",
                     id="own endpoint without path"),
        pytest.param({METRICS_ENDPOINT: GRPC + "/here"}, False, "http/protobuf",
                     "http://collector.internal:4318/here", "4318 instead",
                     id="own endpoint with path"),
        pytest.param({ENDPOINT: "http://[::1]:4317"}, False, "http/protobuf",
                     "http://[::1]:4318/v1/metrics", "4318 instead", id="IPv6"),
        pytest.param({ENDPOINT: GRPC, PROTOCOL: "http/protobuf"}, True, "http/protobuf",
                     GRPC + "/v1/metrics", "as OTEL_EXPORTER_OTLP_PROTOCOL says", id="HTTP told"),
        pytest.param({ENDPOINT: GRPC, PROTOCOL: "grpc"}, True, "grpc", GRPC, "", id="gRPC told"),
        pytest.param({ENDPOINT: "http://c:4318", PROTOCOL: "grpc"}, True, "grpc", "http://c:4318",
                     "", id="gRPC elsewhere"),
    ],
)  # fmt: skip
def test_protocol_and_port(
    environ: dict[str, str], installed: bool, protocol: str, endpoint: str, said: str
) -> None:
    """The port of gRPC means gRPC unless told otherwise; without it, HTTP's port is asked."""
    told = Settings.from_env(environ).otlp["metrics"]
    result, note = resolve("metrics", told, grpc_installed=installed)
    assert (result.protocol, result.endpoint) == (protocol, endpoint)
    assert said in note
    assert bool(note) == bool(said)


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        ("otlp", [OTLPMetricExporter]),
        ("console", [ConsoleMetricExporter]),
        ("otlp,console", [OTLPMetricExporter, ConsoleMetricExporter]),
        ("none", []),
        ("prometheus", []),
    ],
)
def test_exporters_by_name(names: str, classes: list[type]) -> None:
    """OTEL_METRICS_EXPORTER names them; without one nothing is pushed."""
    settings = Settings.from_env({**ENABLED, "OTEL_METRICS_EXPORTER": names})
    assert [type(each) for each in metric_exporters(settings, 10)] == classes
    assert pushes_metrics(settings) == bool(classes)
    assert not pushes_metrics(Settings.from_env({"OTEL_METRICS_EXPORTER": names}))


def test_environment_of_the_process_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings decide, not what the exporter would read by itself."""
    monkeypatch.setenv(METRICS_ENDPOINT, "http://elsewhere:4318/v1/metrics")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    settings = Settings.from_env({**ENABLED, ENDPOINT: "http://here:4318"})
    (exporter,) = metric_exporters(settings, 10)
    assert exporter._endpoint == settled(settings, "metrics").endpoint
    assert exporter._endpoint == "http://here:4318/v1/metrics"
    assert exporter._compression.value == "none"


@pytest.mark.parametrize(
    ("own", "push"), [pytest.param(60, 1, id="push"), pytest.param(1, 60, id="exporter")]
)
def test_shorter_timeout_holds(sink: OtlpSink, own: int, push: int) -> None:  # noqa: F811
    """An export takes no longer than its own timeout, and no longer than its push may take."""
    sink.behave(Fault.STATUS, status=503, headers={"Retry-After": "5"})
    environ = {ENDPOINT: sink.url, "OTEL_EXPORTER_OTLP_TIMEOUT": str(own)}
    (exporter,) = metric_exporters(Settings.from_env({**ENABLED, **environ}), push)
    assert not send(exporter, make_metrics())
    assert len(sink.exchanges()) == 1  # the collector asks for more time than there is


@pytest.mark.parametrize("no_proxy", ["", "elsewhere.invalid", "localhost,collector.invalid"])
def test_proxies_of_the_environment(
    sink: OtlpSink,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    no_proxy: str,
) -> None:
    """http_proxy is used for the collector, unless no_proxy names its host."""
    monkeypatch.setenv("http_proxy", sink.url)
    monkeypatch.setenv("no_proxy", no_proxy)
    environ = {ENDPOINT: "http://collector.invalid:4318", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    (exporter,) = metric_exporters(Settings.from_env({**ENABLED, **environ}), 1)
    send(exporter, make_metrics())
    paths = [] if "collector" in no_proxy else ["http://collector.invalid:4318/v1/metrics"]
    assert [each.path for each in sink.exchanges()] == paths


def test_grpc_exporter() -> None:
    """With the extra installed the exporter for gRPC is made."""
    require("opentelemetry.exporter.otlp.proto.grpc")
    settings = Settings.from_env({**ENABLED, ENDPOINT: "http://127.0.0.1:4317"})
    (exporter,) = metric_exporters(settings, 10)
    assert type(exporter).__module__.startswith("opentelemetry.exporter.otlp.proto.grpc")
    exporter.shutdown()
