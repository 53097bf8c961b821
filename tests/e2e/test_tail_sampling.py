"""Tail sampling in a real gunicorn: what must be kept arrives, and the rest can be counted with."""

from __future__ import annotations

import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from math import sqrt
from operator import attrgetter
from typing import Any

import pytest

from avatar_telemetry.metrics.instruments import DURATION_BUCKETS
from tests.support.gunicorn_server import PATIENT, GunicornServer, Serve, parse, series, total
from tests.support.otlp_records import ReceivedSpan
from tests.support.otlp_sink import OtlpSink

DIGEST = "0123456789abcdef" * 2
REQUESTS, ERRORS, SLOW, CLIENTS, RATIO = 10_000, 20, 15, 8, 0.05
KEEP = f"errors, slow:1s, ratio:{RATIO}, budget:100000/s"
SLOW_AFTER = 1
SIGMAS = 4
"""Three would fail once in some hundred runs."""
SPANS = Counter({"GET /avatar/{digest}": 1, "work": 1})
"""Spans of a request, besides its operation."""


def wanted(number: int) -> str:
    """The query of a request; those that matter are spread over all."""
    if number % (REQUESTS // ERRORS) == 0:
        return "error"
    return "slow" if number % (REQUESTS // SLOW) == 1 and number < REQUESTS - SLOW else ""


def ask(server: GunicornServer, numbers: range) -> None:
    """Send requests over one connection."""
    connection = server.connect()
    try:
        for number in numbers:
            connection.request("GET", f"/avatar/{DIGEST}?{wanted(number)}")
            response = connection.getresponse()
            assert response.read() == b"image"
            assert response.status == (500 if wanted(number) == "error" else 200)
    finally:
        connection.close()


def stands_for(span: ReceivedSpan) -> float:
    """The number of requests that a kept one stands for, by the tracestate of a span."""
    threshold = int(span.proto.trace_state.removeprefix("ot=th:").ljust(14, "0"), 16)
    return (1 << 56) / ((1 << 56) - threshold)


def duration(span: ReceivedSpan) -> float:
    return (span.proto.end_time_unix_nano - span.proto.start_time_unix_nano) / 1e9


def assert_whole(trace: list[ReceivedSpan]) -> ReceivedSpan:
    """Every span of a request has arrived once, with the same share; return its server span."""
    (server,) = [span for span in trace if span.kind == "SERVER"]
    names = Counter(span.name for span in trace)
    assert len(trace) == 3
    assert names >= SPANS
    assert {span.proto.trace_state for span in trace} == {server.proto.trace_state}
    return server


@pytest.mark.slow
def test_ten_thousand_requests(serve: Serve, sink: OtlpSink) -> None:
    """Errors and slow requests all arrive, whole; the others are the ratio of all. Rate, errors and
    durations by the kept traces are those of the metrics."""
    env = {
        **PATIENT, "OTEL_EXPORT_ENABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url,
        "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "otlp",
        "OTEL_BSP_SCHEDULE_DELAY": "100", "AVATAR_TELEMETRY_KEEP": KEEP,
    }  # fmt: skip
    server = serve("sampled:application", worker_class="gthread", workers=2, env=env)
    with ThreadPoolExecutor(CLIENTS) as clients:
        parts = [range(first, REQUESTS, CLIENTS) for first in range(CLIENTS)]
        list(clients.map(lambda part: ask(server, part), parts))
    metrics = parse(server.get("/metrics").text)
    server.signal(signal.SIGTERM)
    assert server.wait() == 0

    spans = sorted(sink.spans(), key=attrgetter("trace_id"))
    traces = [assert_whole(list(trace)) for _, trace in groupby(spans, attrgetter("trace_id"))]
    rules = Counter(span.attributes["avatar_telemetry.kept_by"] for span in traces)
    kept = series(metrics, "avatar_telemetry_requests_kept_total", "rule")
    assert kept == rules
    assert (
        sum(kept.values()) + total(metrics, "avatar_telemetry_requests_dropped_total") == REQUESTS
    )
    assert rules["errors"] == ERRORS
    assert rules["slow"] >= SLOW
    assert sum(duration(span) >= SLOW_AFTER for span in traces) >= SLOW
    others = REQUESTS - rules["errors"] - rules["slow"]
    assert abs(rules["ratio"] - RATIO * others) <= SIGMAS * sqrt(others * RATIO * (1 - RATIO))
    assert sorted(log_ids(sink)) == sorted(span.trace_id for span in traces)

    assert_counted(sum(map(stands_for, traces)), REQUESTS)
    failed = [span for span in traces if span.attributes["http.status_code"] == 500]
    assert sum(map(stands_for, failed)) == total(
        metrics, "ivatar_requests_total", status_code="500"
    )
    for bound in DURATION_BUCKETS:
        estimated = sum(stands_for(span) for span in traces if duration(span) <= bound)
        counted = total(metrics, "ivatar_request_duration_seconds_bucket", le=str(bound))
        assert_counted(estimated, counted)


def assert_counted(estimated: float, counted: float) -> None:
    """An estimate from kept traces is within its error."""
    assert abs(estimated - counted) <= 1 / RATIO + SIGMAS * sqrt(counted * (1 - RATIO) / RATIO)


def log_ids(sink: OtlpSink) -> list[str]:
    """The trace id of each log record."""
    records: list[Any] = [each.proto for each in sink.logs()]
    return [record.trace_id.hex() for record in records]
