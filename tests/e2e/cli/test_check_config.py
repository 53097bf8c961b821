"""``check-config`` beside a server that runs."""

from __future__ import annotations

from tests.support.running import DemoServer, PageServer, invoke


def test_beside_a_running_server(demo_server: DemoServer) -> None:
    """The folder and the port of the server to be restarted are no faults."""
    with PageServer(
        "# TYPE avatar_telemetry_build_info gauge\navatar_telemetry_build_info 1\n"
    ) as own:
        address = own.url.removeprefix("http://")
        folder = str(demo_server.runtime)
        ran = invoke(
            "check-config", PROMETHEUS_MULTIPROC_DIR=folder, OTEL_PROMETHEUS_ENDPOINT=address
        )
    assert ran.status == 0, ran.err
