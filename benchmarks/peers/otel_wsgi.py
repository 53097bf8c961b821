"""OpenTelemetry's WSGI middleware with the SDK's batch processor and the official exporters."""

from __future__ import annotations

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from benchmarks.applications import bare
from benchmarks.peers import SAMPLE, SINK, Wrapped


def wrap(name: str) -> Wrapped:
    """The application inside the middleware: one span and two metrics a request."""
    spans = TracerProvider(sampler=ParentBased(TraceIdRatioBased(SAMPLE)))
    spans.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(SINK + "/v1/traces")))
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(SINK + "/v1/metrics"))
    metrics = MeterProvider([reader])
    application = OpenTelemetryMiddleware(bare(name), tracer_provider=spans, meter_provider=metrics)
    return Wrapped(application, lambda: (spans.force_flush(), metrics.force_flush()))
