"""What is recorded by hand under a real gunicorn: in workers, and not in the master."""

from __future__ import annotations

import pytest

from tests.support.gunicorn_server import HOST, Serve, eventually
from tests.support.otlp_sink import OtlpSink
from tests.support.rows import PRELOAD, by_default

BY_HAND = """
from avatar_telemetry import current_request, get_avatar_metrics, trace_avatar_operation

@trace_avatar_operation("warm_up")
def record():
    current_request().set_attribute("a", 1)
    get_avatar_metrics().record_auth("login", True)

def when_ready(server):
    record()

def post_worker_init(worker):
    record()
"""


@pytest.mark.parametrize("preload", by_default("preload", PRELOAD))
def test_before_any_request(sink: OtlpSink, serve: Serve, preload: bool) -> None:
    """Each worker records what it does before its first request; the master records nothing."""
    env = {
        "OTEL_EXPORT_ENABLED": "true", "OTEL_METRICS_EXPORTER": "none",
        "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url, "OTEL_BSP_SCHEDULE_DELAY": "100",
    }  # fmt: skip
    server = serve(env=env, workers=3, config=BY_HAND, preload_app=preload)
    assert server.value("ivatar_auth_attempts_total", operation="login", success="true") == 3
    assert server.value("avatar_telemetry_internal_errors_total") == 0

    def instances() -> set[str]:
        spans = [span for span in sink.spans() if span.name == "avatar.warm_up"]
        return {span.resource["service.instance.id"] for span in spans}

    wanted = {f"{HOST}/{slot}" for slot in range(3)}
    eventually(lambda: instances() == wanted, what="a span of each worker")
