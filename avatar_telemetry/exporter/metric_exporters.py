"""The SDK's exporters of metrics, made from the settings alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import ConsoleMetricExporter, MetricExporter

from avatar_telemetry.config.destinations import settled
from avatar_telemetry.config.otlp import GRPC, Otlp
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.exporter.session import open_session


def http_options(otlp: Otlp) -> dict[str, Any]:
    """Return the arguments of a standard exporter over HTTP."""
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
    """Return the arguments of a standard exporter over gRPC."""
    return {
        "endpoint": otlp.endpoint,
        "insecure": not otlp.endpoint.startswith("https:"),
        "credentials": grpc_credentials(otlp),
        "headers": dict(otlp.headers),
        "timeout": otlp.timeout,
        "compression": grpc_compression(otlp),
    }


def grpc_credentials(otlp: Otlp) -> Any:
    """Return the credentials of a gRPC channel; ``None`` for one without TLS."""
    if not otlp.endpoint.startswith("https:"):
        return None
    import grpc

    files = (otlp.certificate, otlp.client_key, otlp.client_certificate)
    return grpc.ssl_channel_credentials(*(_read(path) if path else None for path in files))


def grpc_compression(otlp: Otlp) -> Any:
    """Return the compression of a gRPC channel. By default the exporter would read the variable
    again, and take no other value than ``gzip``."""
    import grpc

    packed = otlp.compression == "gzip"
    return grpc.Compression.Gzip if packed else grpc.Compression.NoCompression


def metric_exporters(settings: Settings, timeout: float) -> list[MetricExporter]:
    """Every exporter that ``OTEL_METRICS_EXPORTER`` names.

    Args:
        settings: of the exporters.
        timeout: seconds that one export may take at most, if the exporter's own is not shorter.
    """
    exporters: list[MetricExporter] = []
    if "otlp" in settings.metrics_exporters:
        otlp = settled(settings, "metrics")
        otlp = replace(otlp, timeout=min(otlp.timeout, timeout))
        make = _grpc_metric_exporter if otlp.protocol == GRPC else _http_metric_exporter
        exporters.append(make(otlp))
    if "console" in settings.metrics_exporters:
        exporters.append(ConsoleMetricExporter())
    return exporters


def _http_metric_exporter(otlp: Otlp) -> MetricExporter:
    return OTLPMetricExporter(**http_options(otlp))


def _grpc_metric_exporter(otlp: Otlp) -> MetricExporter:
    # An extra: it is not there for most.
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (
        OTLPMetricExporter as GrpcMetricExporter,
    )

    exporter: MetricExporter = GrpcMetricExporter(**grpc_options(otlp))
    return exporter


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
