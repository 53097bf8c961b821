"""What spans are sent with: the standard exporters, over HTTP with an encoding of our own."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace.export import ConsoleSpanExporter

from avatar_telemetry.config.otlp import GRPC, Otlp
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.export.exporters import grpc_options
from avatar_telemetry.export.senders import ExporterSender, OtlpSender
from avatar_telemetry.export.wanted import settled
from avatar_telemetry.otel_private import export_encoded
from avatar_telemetry.tracing.encoder import encode_spans
from avatar_telemetry.tracing.queue import Sender
from avatar_telemetry.tracing.span import RecordedSpan

PACE = 32
"""Spans that are encoded at a stretch, a tenth of a millisecond."""
BATCH = 512
"""Spans of a batch (specification of the batching processor)."""
GRPC_BATCH = 64
"""The same over gRPC, whose standard encoder takes ten times as long, without a pause."""
PAUSE = 1e-5
"""Seconds, which the system makes longer: enough for who waits to wake up."""


class HttpSender(OtlpSender[RecordedSpan]):
    """OTLP over HTTP, encoded by :mod:`avatar_telemetry.tracing.encoder`.

    Args:
        otlp: where and how.
    """

    def __init__(self, otlp: Otlp) -> None:
        response = ExportTraceServiceResponse
        super().__init__(OTLPSpanExporter, otlp, response, "rejected_spans", "spans")

    def _export(self, items: Sequence[RecordedSpan]) -> bool:
        return export_encoded(self._exporter, encode_spans(_paced(items)))


class SpanSender(ExporterSender[RecordedSpan]):
    """Any exporter of spans."""

    def send(self, items: Sequence[RecordedSpan]) -> int:
        """Send a batch; how many of it arrived."""
        return super().send([span.without_trace_state() for span in items])


def give_way() -> None:
    """Let others run: gevent's greenlets, too, which may have patched the function by now."""
    time.sleep(PAUSE)


def _paced(spans: Sequence[RecordedSpan]) -> Iterator[RecordedSpan]:
    """The spans with pauses between them: who encodes holds the interpreter's lock, and a request
    would wait for it until the whole batch is written."""
    for number, span in enumerate(spans):
        if number and number % PACE == 0:
            give_way()
        yield span


def make_senders(settings: Settings) -> list[Sender[RecordedSpan]]:
    """Every exporter that ``OTEL_TRACES_EXPORTER`` names.

    Args:
        settings: of the exporters.
    """
    senders: list[Sender[RecordedSpan]] = []
    if "otlp" in settings.traces_exporters:
        otlp = settled(settings, "traces")
        senders.append(_grpc(otlp) if otlp.protocol == GRPC else HttpSender(otlp))
    if "console" in settings.traces_exporters:
        senders.append(SpanSender(ConsoleSpanExporter()))
    return senders


def batch_size(settings: Settings) -> int:
    """Spans that are sent at once, unless the settings say it."""
    if settings.batch_size is not None:
        return settings.batch_size
    over_otlp = "otlp" in settings.traces_exporters
    over_grpc = over_otlp and settled(settings, "traces").protocol == GRPC
    return GRPC_BATCH if over_grpc else BATCH


def _grpc(otlp: Otlp) -> Sender[RecordedSpan]:
    # An extra: it is not there for most.
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (
        OTLPSpanExporter as GrpcSpanExporter,
    )

    return SpanSender(GrpcSpanExporter(**grpc_options(otlp)))
