"""Over gRPC, whose calls wait outside of Python, a collector is in nobody's way either."""

from __future__ import annotations

import signal

import pytest

from tests.support.gunicorn_server import GunicornServer, Serve
from tests.support.otlp_faults import Fault
from tests.support.otlp_grpc_sink import GrpcSink
from tests.support.rows import WORKER_CLASSES, by_default

REQUESTS = 20


def serve_grpc(serve: Serve, sink: GrpcSink, worker_class: str, **env: str) -> GunicornServer:
    return serve(
        "answers:application",
        worker_class=worker_class,
        env={
            "OTEL_EXPORT_ENABLED": "true",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
            "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url,
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            **env,
        },
    )


@pytest.mark.parametrize("worker_class", by_default("gevent", WORKER_CLASSES))
def test_spans_and_metrics_arrive(serve: Serve, grpc_sink: GrpcSink, worker_class: str) -> None:
    """Those of every request, the last ones at the end."""
    server = serve_grpc(serve, grpc_sink, worker_class)
    for _ in range(REQUESTS):
        server.get("/avatar/abc")
    grpc_sink.await_spans(2 * REQUESTS)
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    pushed = grpc_sink.newest("ivatar_requests_total").values()
    assert sum(point.as_double for point in pushed) == REQUESTS


@pytest.mark.parametrize("worker_class", by_default("gthread", WORKER_CLASSES))
def test_a_silent_collector_holds_nobody_up(
    serve: Serve, grpc_sink: GrpcSink, worker_class: str
) -> None:
    """While it keeps a batch without an answer, requests are answered and workers end."""
    grpc_sink.behave(Fault.BLACKHOLE)
    server = serve_grpc(serve, grpc_sink, worker_class, AVATAR_TELEMETRY_FLUSH_TIMEOUT="1")
    server.get("/avatar/abc")
    grpc_sink.await_exchanges(1)
    for _ in range(REQUESTS):
        assert server.get("/avatar/abc").status == 200
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert "SIGKILL" not in server.log() and "WORKER TIMEOUT" not in server.log()
