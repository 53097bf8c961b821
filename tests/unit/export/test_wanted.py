"""Which signals the settings send, and what the start reports about them."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from avatar_telemetry import Settings, SettingsError
from avatar_telemetry.export import wanted
from avatar_telemetry.export.wanted import (
    check_exporters,
    otlp_signals,
    pushes_metrics,
    sends,
    tell_configured,
)
from tests.support.requirements import require

ENABLED = {"OTEL_EXPORT_ENABLED": "true"}
DISABLED = {"OTEL_SDK_DISABLED": "true"}
PORT = {"OTEL_PROMETHEUS_ENDPOINT": ":9467"}
COLLECTOR = "http://collector.internal:4317"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
EARLY = """
import os, sys
from avatar_telemetry import Settings
from avatar_telemetry.export.wanted import load_early, load_transport, unload
settings = Settings.from_env(os.environ)
early = load_early(settings)
assert early <= sys.modules.keys()
unload(early)
assert not early & sys.modules.keys()
load_transport(settings)
again = early <= sys.modules.keys()
print(again, "requests" in early, "grpc" in sys.modules)
"""


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


@pytest.mark.parametrize(
    ("protocol", "printed"),
    [("http/protobuf", "True True False"), ("grpc", "True False True")],
)
def test_modules_that_send(protocol: str, printed: str) -> None:
    """Of what knows ``ssl`` a master can let go before its workers import it anew; gRPC, which
    must not be imported before a fork, is imported by the workers alone."""
    if protocol == "grpc":
        require("grpc")
    ran = subprocess.run(
        [sys.executable, "-c", EARLY], capture_output=True, text=True, check=True,
        env={**ENABLED, PROTOCOL: protocol},
    )  # fmt: skip
    assert ran.stdout.strip() == printed


def test_configuration_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    """At level DEBUG it is logged where each signal goes, without the query of the endpoint."""
    environ = {
        **ENABLED,
        ENDPOINT: "http://collector:4318?key=secret",
        "OTEL_LOGS_EXPORTER": "none",
    }
    with caplog.at_level(logging.DEBUG):
        tell_configured(Settings.from_env(environ))
        tell_configured(Settings.from_env({}))
    assert "traces to http://collector:4318/v1/traces (http/protobuf, 10 s" in caplog.text
    assert "metrics to http://collector:4318/v1/metrics" in caplog.text
    assert "logs to none" in caplog.text
    assert "OTEL_EXPORT_ENABLED is false" in caplog.text
    assert "secret" not in caplog.text


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
        check_exporters(Settings.from_env({**ENABLED, ENDPOINT: COLLECTOR}))
    assert [record.levelname for record in caplog.records] == ["INFO" if installed else "WARNING"]


CONSOLE = {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "console", **ENABLED}


@pytest.mark.parametrize("environ", [{}, CONSOLE])
def test_nothing_to_say(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, environ: dict[str, str]
) -> None:
    """Where nothing leaves over OTLP, its settings do not matter."""
    monkeypatch.setattr(wanted, "grpc_installed", lambda: False)
    check_exporters(Settings.from_env({**environ, ENDPOINT: COLLECTOR, PROTOCOL: "grpc"}))
    assert not caplog.records


def test_grpc_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """gRPC that is asked for and not there stops the start; the message says what to install."""
    monkeypatch.setattr(wanted, "grpc_installed", lambda: False)
    settings = Settings.from_env({**ENABLED, PROTOCOL: "grpc"})
    with pytest.raises(SettingsError, match=r"pip install 'avatar-telemetry\[grpc\]'"):
        check_exporters(settings)
