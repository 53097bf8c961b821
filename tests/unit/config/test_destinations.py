"""The exporters and endpoints that the settings name, and what the start logs about them."""

from __future__ import annotations

import logging

import pytest

from avatar_telemetry import Settings, SettingsError
from avatar_telemetry.config import destinations
from avatar_telemetry.config.destinations import (
    check_exporters,
    log_configured,
    otlp_signals,
    pushes_metrics,
    ring_signals,
    sends,
    settled,
)

ENABLED = {"OTEL_EXPORT_ENABLED": "true"}
DISABLED = {"OTEL_SDK_DISABLED": "true"}
PORT = {"OTEL_PROMETHEUS_ENDPOINT": ":9467"}
COLLECTOR = "http://collector.internal:4317"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"


@pytest.mark.parametrize(
    ("environ", "sent", "pushed", "signals"),
    [
        pytest.param({}, False, False, [], id="default"),
        pytest.param(ENABLED, True, True, ["traces", "metrics"], id="export"),
        pytest.param({**ENABLED, **DISABLED}, False, False, [], id="SDK disabled"),
        pytest.param(PORT, True, False, [], id="separate port alone"),
        pytest.param({**PORT, **DISABLED}, False, False, [], id="separate port, SDK disabled"),
        pytest.param({**ENABLED, "OTEL_LOGS_EXPORTER": "otlp", "OTEL_TRACES_EXPORTER": "console",
                      "OTEL_METRICS_EXPORTER": "console"}, True, True, ["logs"], id="console"),
        pytest.param({**ENABLED, "OTEL_METRICS_EXPORTER": "prometheus"}, True, False, ["traces"],
                     id="metrics on the page alone"),
        pytest.param({"OTEL_LOGS_EXPORTER": "otlp"}, False, False, [], id="not enabled"),
    ],
)  # fmt: skip
def test_what_is_sent(
    environ: dict[str, str], sent: bool, pushed: bool, signals: list[str]
) -> None:
    """The switch of the export and of the SDK stand above the exporters of the signals."""
    settings = Settings.from_env(environ)
    assert sends(settings) is sent
    assert pushes_metrics(settings) is pushed
    assert list(otlp_signals(settings)) == signals


def test_configuration_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    """At level DEBUG it is logged where each signal goes, without the query of the endpoint."""
    environ = {
        **ENABLED,
        ENDPOINT: "http://collector:4318?key=secret",
        "OTEL_LOGS_EXPORTER": "none",
    }
    with caplog.at_level(logging.DEBUG):
        log_configured(Settings.from_env(environ))
        log_configured(Settings.from_env({}))
    assert "traces to http://collector:4318/v1/traces (http/protobuf, 10 s" in caplog.text
    assert "metrics to http://collector:4318/v1/metrics" in caplog.text
    assert "logs to none" in caplog.text
    assert "OTEL_EXPORT_ENABLED is false" in caplog.text
    assert "secret" not in caplog.text


def test_grpc_does_not_deflate() -> None:
    """No collector unpacks that: the start fails, instead of losing everything."""
    environ = {**ENABLED, PROTOCOL: "grpc", "OTEL_EXPORTER_OTLP_COMPRESSION": "deflate"}
    with pytest.raises(SettingsError, match="OTEL_EXPORTER_OTLP_COMPRESSION='deflate'"):
        check_exporters(Settings.from_env(environ))


@pytest.mark.parametrize("installed", [True, False])
def test_the_start_logs_it_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, installed: bool
) -> None:
    """Traces and metrics to one port are worth one line."""
    monkeypatch.setattr(destinations, "grpc_installed", lambda: installed)
    with caplog.at_level(logging.INFO):
        check_exporters(Settings.from_env({**ENABLED, ENDPOINT: COLLECTOR}))
    assert [record.levelname for record in caplog.records] == ["INFO" if installed else "WARNING"]


CONSOLE = {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "console", **ENABLED}


@pytest.mark.parametrize("environ", [{}, CONSOLE])
def test_nothing_to_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, environ: dict[str, str]
) -> None:
    """Where nothing leaves over OTLP, its settings do not matter."""
    monkeypatch.setattr(destinations, "grpc_installed", lambda: False)
    check_exporters(Settings.from_env({**environ, ENDPOINT: COLLECTOR, PROTOCOL: "grpc"}))
    assert not caplog.records


def test_grpc_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """gRPC that is asked for and not there stops the start; the message says what to install."""
    monkeypatch.setattr(destinations, "grpc_installed", lambda: False)
    settings = Settings.from_env({**ENABLED, PROTOCOL: "grpc"})
    with pytest.raises(SettingsError, match=r"pip install 'avatar-telemetry\[grpc\]'"):
        check_exporters(settings)


BOTH = {"OTEL_LOGS_EXPORTER": "otlp", **ENABLED}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        pytest.param({}, {}, id="default"),
        pytest.param(ENABLED, {"traces": ("otlp",)}, id="export"),
        pytest.param({**BOTH, "OTEL_TRACES_EXPORTER": "otlp,console"},
                     {"traces": ("otlp", "console"), "logs": ("otlp",)}, id="console"),
        pytest.param({**ENABLED, "OTEL_TRACES_EXPORTER": "none"}, {}, id="none"),
        pytest.param({**BOTH, **DISABLED}, {}, id="SDK disabled"),
    ],
)  # fmt: skip
def test_signals_in_rings(environ: dict[str, str], expected: dict[str, tuple[str, ...]]) -> None:
    """Workers write the signals that an exporter is named for, and only with the export on."""
    assert ring_signals(Settings.from_env(environ)) == expected


def test_where_a_signal_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The protocol is settled by the endpoint's port and by what is installed."""
    settings = Settings.from_env({**ENABLED, ENDPOINT: COLLECTOR})
    for installed, expected in ((True, COLLECTOR), (False, "http://collector.internal:4318")):
        monkeypatch.setattr(destinations, "grpc_installed", lambda value=installed: value)
        assert settled(settings, "traces").endpoint.startswith(expected)


def test_destinations_for_the_log() -> None:
    """One line names the place of each signal, and no query, which may hold a key."""
    environ = {**BOTH, ENDPOINT: "http://collector:4318?key=secret"}
    text = destinations.destinations(Settings.from_env(environ))
    assert text == (
        "traces to http://collector:4318/v1/traces (http/protobuf), "
        "metrics to http://collector:4318/v1/metrics (http/protobuf), "
        "logs to http://collector:4318/v1/logs (http/protobuf)"
    )
    assert destinations.destinations(Settings.from_env({})) == "off"
