"""Spans, metrics and log records of the plain OpenTelemetry SDK, sent by its official exporters."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import (
    InMemoryLogRecordExporter,
    SimpleLogRecordProcessor,
)
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    InMemoryMetricReader,
    MetricsData,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

RESOURCE = Resource(
    {
        "service.name": "ivatar-test",
        "service.instance.id": "host-1",
        "deployment.environment": "testing",
    }
)


def make_spans(
    number: int = 1, *, failed: bool = False, seconds: float = 0.0
) -> Sequence[ReadableSpan]:
    """Ended pairs of a server span and the operation span inside it.

    Args:
        number: of the pairs.
        failed: whether the server spans' status is an error.
        seconds: how long each lasted.
    """
    kept = InMemorySpanExporter()
    provider = TracerProvider(resource=RESOURCE, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracer = provider.get_tracer("tests")
    for index in range(number):
        start = time.time_ns()
        end = start + int(seconds * 1e9)
        attributes = {"http.method": "GET", "ivatar.avatar_size": 80 + index}
        with tracer.start_as_current_span(
            "GET /avatar/{digest}", kind=SpanKind.SERVER, attributes=attributes,
            start_time=start, end_on_exit=False,
        ) as server:  # fmt: skip
            tracer.start_span("avatar.generate_png", start_time=start).end(end)
        if failed:
            server.set_status(StatusCode.ERROR)
        server.end(end)
    return kept.get_finished_spans()


def make_metrics(count: int = 3, seconds: Sequence[float] = (0.02, 0.3)) -> MetricsData:
    """A counter ``ivatar_requests_total`` and a histogram ``ivatar_request_duration_seconds``."""
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader], resource=RESOURCE, shutdown_on_exit=False).get_meter("tests")
    labels = {"method": "GET", "status_code": "200", "path": "/avatar/{digest}"}
    meter.create_counter("ivatar_requests_total").add(count, labels)
    histogram = meter.create_histogram(
        "ivatar_request_duration_seconds", "s", explicit_bucket_boundaries_advisory=[0.1, 1.0]
    )
    for value in seconds:
        histogram.record(value, labels)
    data = reader.get_metrics_data()
    assert data is not None
    return data


def make_logs(*messages: str) -> Sequence[ReadableLogRecord]:
    """A warning for each message."""
    kept = InMemoryLogRecordExporter()
    provider = LoggerProvider(resource=RESOURCE, shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(kept))
    logger = provider.get_logger("tests")
    for message in messages:
        logger.emit(
            LogRecord(
                timestamp=time.time_ns(), severity_number=SeverityNumber.WARN,
                severity_text="WARN", body=message,
            )
        )  # fmt: skip
    return kept.get_finished_logs()


def send(exporter: Any, data: Any) -> bool:
    """Send what one of the functions above made, and shut the exporter down.

    Args:
        exporter: of spans, metrics or log records.
        data: of the same kind.

    Returns:
        Whether it says that they arrived.
    """
    try:
        return bool(exporter.export(data).name == "SUCCESS")
    finally:
        exporter.shutdown()
