"""What log records are sent with: the standard exporters."""

from __future__ import annotations

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse

from avatar_telemetry.config.otlp import GRPC, Otlp
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.export.exporters import grpc_options
from avatar_telemetry.export.senders import ExporterSender, OtlpSender
from avatar_telemetry.export.wanted import settled
from avatar_telemetry.otel_private import OTLPLogExporter, ReadableLogRecord
from avatar_telemetry.tracing.queue import Sender


def make_log_sender(settings: Settings) -> Sender[ReadableLogRecord]:
    """The exporter of ``OTEL_LOGS_EXPORTER=otlp``.

    Args:
        settings: of the exporters.
    """
    otlp = settled(settings, "logs")
    if otlp.protocol == GRPC:
        return _grpc(otlp)
    response = ExportLogsServiceResponse
    return OtlpSender(OTLPLogExporter, otlp, response, "rejected_log_records", "records")


def _grpc(otlp: Otlp) -> Sender[ReadableLogRecord]:
    # An extra: it is not there for most.
    from avatar_telemetry.otel_private import GrpcLogExporter

    return ExporterSender(GrpcLogExporter(**grpc_options(otlp)))
