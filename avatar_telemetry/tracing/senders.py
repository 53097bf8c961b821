"""What spans are sent with: the standard exporters, over HTTP with an encoding of our own."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace.export import (
    ConsoleSpanExporter,
    SpanExporter,
    SpanExportResult,
)

from avatar_telemetry.exporters import grpc_compression, grpc_credentials, http_session, settled
from avatar_telemetry.log import debug
from avatar_telemetry.otlp import GRPC, Otlp
from avatar_telemetry.settings import Settings
from avatar_telemetry.tracing.encoder import encode_spans
from avatar_telemetry.tracing.queue import Sender
from avatar_telemetry.tracing.span import RecordedSpan

# Under this name it is throttled with the exporters' own failures.
EXPORTER_LOGGER = logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter")


class HttpSender:
    """OTLP over HTTP: session, headers, compression, TLS and retries are the standard exporter's.

    Args:
        otlp: where and how.
    """

    def __init__(self, otlp: Otlp) -> None:
        self._session: Any = http_session(otlp)
        self._exporter = OTLPSpanExporter(
            endpoint=otlp.endpoint,
            certificate_file=otlp.certificate or None,
            client_key_file=otlp.client_key or None,
            client_certificate_file=otlp.client_certificate or None,
            headers=dict(otlp.headers),
            timeout=otlp.timeout,
            compression=Compression(otlp.compression),
            session=self._session,
        )

    def send(self, spans: Sequence[RecordedSpan]) -> int:
        """Send a batch, and try again while there is time; see :class:`Sender`."""
        if not self._exporter._client.export(encode_spans(spans)).success:
            return 0
        refused = _refused(self._session.answer)
        if refused:
            EXPORTER_LOGGER.error("The collector refused %d spans of %d.", refused, len(spans))
        return max(len(spans) - refused, 0)

    def hurry(self) -> None:
        """From now on each batch has one try."""
        self._exporter._client._shutdown_event.set()

    def renew(self) -> None:
        """In a forked child: connect anew."""
        self._session.renew()

    def close(self) -> None:
        """Give the connections back."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]


class ExporterSender:
    """Any exporter of the SDK's interface.

    Args:
        exporter: gets our spans, which are ``ReadableSpan``s.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def send(self, spans: Sequence[RecordedSpan]) -> int:
        """Send a batch; see :class:`Sender`."""
        arrived = self._exporter.export(spans) is SpanExportResult.SUCCESS
        return len(spans) if arrived else 0

    def hurry(self) -> None:
        """It has no way to be told."""

    def renew(self) -> None:
        """It has to know of forks by itself, as the SDK's own do."""

    def close(self) -> None:
        """Shut it down."""
        self._exporter.shutdown()


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
        senders.append(ExporterSender(ConsoleSpanExporter()))
    return senders


def _grpc(otlp: Otlp) -> Sender[RecordedSpan]:
    # An extra: it is not there for most.
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (
        OTLPSpanExporter as GrpcSpanExporter,
    )

    return ExporterSender(
        GrpcSpanExporter(
            endpoint=otlp.endpoint,
            insecure=not otlp.endpoint.startswith("https:"),
            credentials=grpc_credentials(otlp),
            headers=dict(otlp.headers),
            timeout=otlp.timeout,
            compression=grpc_compression(otlp),
        )
    )


def _refused(answer: bytes) -> int:
    """How many spans a collector says that it did not take (OTLP, partial success)."""
    if not answer:
        return 0
    try:
        response = ExportTraceServiceResponse.FromString(answer)
    except DecodeError:
        debug("an answer of %d bytes that is no OTLP", len(answer))
        return 0
    return int(response.partial_success.rejected_spans)
