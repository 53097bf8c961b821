"""The SDK's exporters of metrics, made from the settings alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk import metrics
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    ConsoleMetricExporter,
    MetricExporter,
)
from opentelemetry.sdk.metrics.view import Aggregation, ExponentialBucketHistogramAggregation

from avatar_telemetry.config.destinations import settled
from avatar_telemetry.config.otlp import GRPC, Otlp
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.exporter.session import open_session

_DELTA = {
    "cumulative": (),
    "delta": (metrics.Counter, metrics.Histogram, metrics.ObservableCounter),
    "lowmemory": (metrics.Counter, metrics.Histogram),
}
"""Instruments whose increments are sent, by temporality preference (specification of OTLP)."""
_INSTRUMENTS = (
    metrics.Counter, metrics.UpDownCounter, metrics.Histogram,
    metrics.ObservableCounter, metrics.ObservableUpDownCounter, metrics.ObservableGauge,
)  # fmt: skip


def http_options(otlp: Otlp) -> dict[str, Any]:
    """What each standard exporter over HTTP is made with."""
    return {
        "endpoint": otlp.endpoint,
        "certificate_file": otlp.certificate or None,
        "client_key_file": otlp.client_key or None,
        "client_certificate_file": otlp.client_certificate or None,
        "headers": dict(otlp.headers),
        "timeout": otlp.timeout,
        "compression": Compression(otlp.compression),
        "session": open_session(otlp),
    }


def grpc_options(otlp: Otlp) -> dict[str, Any]:
    """What each standard exporter over gRPC is made with."""
    return {
        "endpoint": otlp.endpoint,
        "insecure": not otlp.endpoint.startswith("https:"),
        "credentials": grpc_credentials(otlp),
        "headers": dict(otlp.headers),
        "timeout": otlp.timeout,
        "compression": grpc_compression(otlp),
    }


def grpc_credentials(otlp: Otlp) -> Any:
    """What secures a channel of gRPC; ``None`` for one that is not."""
    if not otlp.endpoint.startswith("https:"):
        return None
    import grpc

    files = (otlp.certificate, otlp.client_key, otlp.client_certificate)
    return grpc.ssl_channel_credentials(*(_read(path) if path else None for path in files))


def grpc_compression(otlp: Otlp) -> Any:
    """How gRPC packs what is sent. By default the exporter would read the variable
    again, and take no other value than ``gzip``."""
    import grpc

    packed = otlp.compression == "gzip"
    return grpc.Compression.Gzip if packed else grpc.Compression.NoCompression


def temporality(settings: Settings) -> dict[type, AggregationTemporality]:
    """What is sent of each kind of instrument: totals or increments."""
    delta = _DELTA[settings.temporality]
    return {
        each: AggregationTemporality.DELTA if each in delta else AggregationTemporality.CUMULATIVE
        for each in _INSTRUMENTS
    }


def aggregation(settings: Settings) -> dict[type, Aggregation]:
    """The form of API histograms (OpenTelemetry specification, Metrics Exporters, OTLP,
    "Additional environment variable configuration")."""
    exponential = settings.histogram_aggregation == "base2_exponential_bucket_histogram"
    return {metrics.Histogram: ExponentialBucketHistogramAggregation()} if exponential else {}


def metric_exporters(settings: Settings, timeout: float) -> list[MetricExporter]:
    """Every exporter that ``OTEL_METRICS_EXPORTER`` names.

    Args:
        settings: of the exporters.
        timeout: seconds that one export may take at most, if the exporter's own is not shorter.
    """
    preferred = temporality(settings)
    exporters: list[MetricExporter] = []
    if "otlp" in settings.metrics_exporters:
        otlp = settled(settings, "metrics")
        otlp = replace(otlp, timeout=min(otlp.timeout, timeout))
        make = _grpc_metric_exporter if otlp.protocol == GRPC else _http_metric_exporter
        exporters.append(make(otlp, preferred))
    if "console" in settings.metrics_exporters:
        exporters.append(ConsoleMetricExporter(preferred_temporality=preferred))
    return exporters


def _http_metric_exporter(
    otlp: Otlp, preferred: dict[type, AggregationTemporality]
) -> MetricExporter:
    return OTLPMetricExporter(**http_options(otlp), preferred_temporality=preferred)


def _grpc_metric_exporter(
    otlp: Otlp, preferred: dict[type, AggregationTemporality]
) -> MetricExporter:
    # An extra: it is not there for most.
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (
        OTLPMetricExporter as GrpcMetricExporter,
    )

    exporter: MetricExporter = GrpcMetricExporter(
        **grpc_options(otlp), preferred_temporality=preferred
    )
    return exporter


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
