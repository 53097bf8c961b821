"""Which exporters the settings make, and what the start says about them."""

from __future__ import annotations

import logging

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter

from avatar_telemetry import Settings, SettingsError
from avatar_telemetry.config.otlp import resolve
from avatar_telemetry.export import wanted
from avatar_telemetry.export.exporters import metric_exporters
from avatar_telemetry.export.wanted import check_exporters, pushes_metrics, settled

ENABLED = {"OTEL_EXPORT_ENABLED": "true"}
SEED = "http://collector.internal:4317"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
METRICS_ENDPOINT = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"
PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"


@pytest.mark.parametrize(
    ("environ", "installed", "protocol", "endpoint", "said"),
    [
        pytest.param({}, False, "http/protobuf", "http://localhost:4318/v1/metrics", "",
                     id="nothing set"),
        pytest.param({ENDPOINT: SEED}, True, "grpc", SEED, "so gRPC is spoken", id="seed, gRPC"),
        pytest.param({ENDPOINT: SEED}, False, "http/protobuf",
                     "http://collector.internal:4318/v1/metrics", "4318 instead", id="seed, HTTP"),
        pytest.param({METRICS_ENDPOINT: SEED}, False, "http/protobuf",
                     "http://collector.internal:4318/v1/metrics", "4318 instead",
                     id="own endpoint without path"),
        pytest.param({METRICS_ENDPOINT: SEED + "/here"}, False, "http/protobuf",
                     "http://collector.internal:4318/here", "4318 instead",
                     id="own endpoint with path"),
        pytest.param({ENDPOINT: "http://[::1]:4317"}, False, "http/protobuf",
                     "http://[::1]:4318/v1/metrics", "4318 instead", id="IPv6"),
        pytest.param({ENDPOINT: SEED, PROTOCOL: "http/protobuf"}, True, "http/protobuf",
                     SEED + "/v1/metrics", "as OTEL_EXPORTER_OTLP_PROTOCOL says", id="HTTP told"),
        pytest.param({ENDPOINT: SEED, PROTOCOL: "grpc"}, True, "grpc", SEED, "", id="gRPC told"),
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


def test_grpc_does_not_deflate() -> None:
    """No collector unpacks that: the start says so instead of losing everything."""
    environ = {**ENABLED, PROTOCOL: "grpc", "OTEL_EXPORTER_OTLP_COMPRESSION": "deflate"}
    with pytest.raises(SettingsError, match="OTEL_EXPORTER_OTLP_COMPRESSION='deflate'"):
        check_exporters(Settings.from_env(environ))


@pytest.mark.parametrize("installed", [True, False])
def test_the_start_says_it_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, installed: bool
) -> None:
    """Traces and metrics to one port are worth one line."""
    monkeypatch.setattr(wanted, "grpc_installed", lambda: installed)
    with caplog.at_level(logging.INFO):
        check_exporters(Settings.from_env({**ENABLED, ENDPOINT: SEED}))
    assert [record.levelname for record in caplog.records] == ["INFO" if installed else "WARNING"]


CONSOLE = {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "console", **ENABLED}


@pytest.mark.parametrize("environ", [{}, CONSOLE])
def test_nothing_to_say(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, environ: dict[str, str]
) -> None:
    """Where nothing leaves over OTLP, its settings do not matter."""
    monkeypatch.setattr(wanted, "grpc_installed", lambda: False)
    check_exporters(Settings.from_env({**environ, ENDPOINT: SEED, PROTOCOL: "grpc"}))
    assert not caplog.records


def test_grpc_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """gRPC that is asked for and not there stops the start; the message says what to install."""
    monkeypatch.setattr(wanted, "grpc_installed", lambda: False)
    settings = Settings.from_env({**ENABLED, PROTOCOL: "grpc"})
    with pytest.raises(SettingsError, match=r"pip install 'avatar-telemetry\[grpc\]'"):
        check_exporters(settings)


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


def test_grpc_exporter() -> None:
    """With the extra installed the exporter for gRPC is made."""
    pytest.importorskip("opentelemetry.exporter.otlp.proto.grpc", reason="the extra grpc")
    settings = Settings.from_env({**ENABLED, ENDPOINT: "http://127.0.0.1:4317"})
    (exporter,) = metric_exporters(settings, 10)
    assert type(exporter).__module__.startswith("opentelemetry.exporter.otlp.proto.grpc")
    exporter.shutdown()
