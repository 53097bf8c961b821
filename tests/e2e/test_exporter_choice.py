"""``OTEL_TRACES_EXPORTER`` and ``OTEL_METRICS_EXPORTER`` decide each for itself what goes where."""

from __future__ import annotations

import signal

import pytest

from tests.support.gunicorn_server import Serve
from tests.support.otlp_records import METRICS, TRACES
from tests.support.otlp_sink import SinkProcess
from tests.support.rows import by_default

REQUESTS = 5
SPAN_PRINTED = '"name": "GET /avatar/{id}"'
METRIC_PRINTED = '"name": "ivatar_requests_total"'


@pytest.mark.parametrize(
    ("traces", "metrics", "sent", "printed"),
    by_default("both", [
        pytest.param("otlp", "none", {TRACES}, set(), id="traces-alone"),
        pytest.param("none", "otlp", {METRICS}, set(), id="metrics-alone"),
        pytest.param("console", "console", set(), {SPAN_PRINTED, METRIC_PRINTED}, id="console"),
        pytest.param("otlp,console", "otlp", {TRACES, METRICS}, {SPAN_PRINTED}, id="both"),
        pytest.param("none", "none", set(), set(), id="none"),
    ]),
)  # fmt: skip
def test_each_signal_goes_where_it_is_told(
    serve: Serve,
    sink_process: SinkProcess,
    traces: str,
    metrics: str,
    sent: set[str],
    printed: set[str],
) -> None:
    """To the collector, to the output, to both or nowhere; nothing of it is lost at the end."""
    server = serve(
        "answers:application",
        env={
            "OTEL_EXPORT_ENABLED": "true",
            "OTEL_EXPORTER_OTLP_ENDPOINT": sink_process.url,
            "OTEL_TRACES_EXPORTER": traces,
            "OTEL_METRICS_EXPORTER": metrics,
        },
    )
    for _ in range(REQUESTS):
        server.get("/avatar/abc")
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert {exchange.path for exchange in sink_process.exchanges()} == sent
    assert len(sink_process.spans()) == (2 * REQUESTS if TRACES in sent else 0)
    pushed = sink_process.newest("ivatar_requests_total").values()
    assert sum(point.as_double for point in pushed) == (REQUESTS if METRICS in sent else 0)
    log = server.log()
    assert {text for text in (SPAN_PRINTED, METRIC_PRINTED) if text in log} == printed
    assert SPAN_PRINTED not in printed or log.count(SPAN_PRINTED) == REQUESTS
