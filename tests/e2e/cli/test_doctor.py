"""The doctor at a server that runs: the demo under gunicorn."""

from __future__ import annotations

from pathlib import Path

from avatar_telemetry.cli.checks.runtime_dir import check_runtime_dir
from avatar_telemetry.config.settings import Settings
from tests.support.otlp_sink import OtlpSink
from tests.support.running import DemoServer, invoke, simulate

PATIENT = ("--timeout", 60)


def test_a_folder_in_use_is_told(demo_server: DemoServer) -> None:
    """Of a running server master, workers and slots are shown."""
    env = {"PROMETHEUS_MULTIPROC_DIR": str(demo_server.runtime)}
    found = list(check_runtime_dir(Settings.from_env(env)))
    assert {each.level for each in found} == {"good"}
    assert "2 workers in slots 0, 1" in found[-1].message


def test_a_healthy_server_is_well(demo_server: DemoServer) -> None:
    """A server without a fault has neither errors nor warnings, and the status is 0."""
    simulate(demo_server.url, "-n", 60, "--random-state", 61)
    ran = invoke("doctor", *PATIENT, "--url", demo_server.url, **demo_server.env)
    assert ran.status == 0, ran.out
    assert "No errors and no warnings." in ran.out
    assert "2 workers, 2 slots in use" in ran.out


def test_a_server_that_exports_is_well(tmp_path: Path, sink: OtlpSink) -> None:
    """With a collector, spans and pushes of the server are seen, and the doctor's own arrive."""
    env = {
        "OTEL_EXPORT_ENABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url,
        "OTEL_BSP_SCHEDULE_DELAY": "50", "AVATAR_TELEMETRY_METRICS_TOKEN": "a-token-of-the-tests",
        "AVATAR_TELEMETRY_METRICS_ALLOW": "",
    }  # fmt: skip
    with DemoServer(tmp_path, **env) as server:
        simulate(server.url, "-n", 60)
        sink.await_spans(60)
        asked = ("doctor", *PATIENT, "--url", server.url)
        ran = invoke(*asked, "--json", **server.env)
        stranger = invoke(*asked, "--token", "a-wrong-token", **server.env)
    report = ran.json()
    checks = {each["check"] for each in report["findings"]}
    assert report["status"] == ran.status == 0, ran.out
    assert {"traces.sent", "metrics.sent", "traces.exported", "metrics_page.workers"} <= checks
    assert "Check that --token is" in stranger.out
    assert stranger.status == 2
