"""What log records are sent with: the standard exporters."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult

from avatar_telemetry.exporters import grpc_credentials, http_session, settled
from avatar_telemetry.otlp import GRPC, Otlp
from avatar_telemetry.settings import Settings
from avatar_telemetry.tracing.queue import Sender

# Under this name it is throttled with the exporters' own failures.
EXPORTER_LOGGER = logging.getLogger("opentelemetry.exporter.otlp.proto.http._log_exporter")


class LogSender:
    """Any exporter of the SDK's interface.

    Args:
        exporter: gets the records.
    """

    def __init__(self, exporter: LogRecordExporter) -> None:
        self._exporter = exporter

    def send(self, records: Sequence[ReadableLogRecord]) -> int:
        """Send a batch; see :class:`Sender`."""
        arrived = self._exporter.export(records) is LogRecordExportResult.SUCCESS
        return len(records) if arrived else 0

    def hurry(self) -> None:
        """It has no way to be told."""

    def renew(self) -> None:
        """It has to know of forks by itself, as the SDK's own do."""

    def close(self) -> None:
        """Shut it down."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]


class HttpLogSender(LogSender):
    """OTLP over HTTP.

    Args:
        otlp: where and how.
    """

    def __init__(self, otlp: Otlp) -> None:
        self._session: Any = http_session(otlp)
        self._http = OTLPLogExporter(
            endpoint=otlp.endpoint,
            certificate_file=otlp.certificate or None,
            client_key_file=otlp.client_key or None,
            client_certificate_file=otlp.client_certificate or None,
            headers=dict(otlp.headers),
            timeout=otlp.timeout,
            compression=Compression(otlp.compression),
            session=self._session,
        )
        super().__init__(self._http)

    def send(self, records: Sequence[ReadableLogRecord]) -> int:
        """Send a batch, and try again while there is time; see :class:`Sender`."""
        arrived = super().send(records)
        refused = _refused(self._session.answer) if arrived else 0
        if refused:
            EXPORTER_LOGGER.error("The collector refused %d records of %d.", refused, arrived)
        return max(arrived - refused, 0)

    def renew(self) -> None:
        """In a forked child: connections of its own."""
        self._session.renew()

    def hurry(self) -> None:
        """From now on each batch has one try."""
        self._http._client._shutdown_event.set()


def make_log_sender(settings: Settings) -> Sender[ReadableLogRecord]:
    """The exporter of ``OTEL_LOGS_EXPORTER=otlp``.

    Args:
        settings: of the exporters.
    """
    otlp = settled(settings, "logs")
    return _grpc(otlp) if otlp.protocol == GRPC else HttpLogSender(otlp)


def _grpc(otlp: Otlp) -> LogSender:
    # An extra: it is not there for most.
    import grpc
    from opentelemetry.exporter.otlp.proto.grpc._log_exporter import (
        OTLPLogExporter as GrpcLogExporter,
    )

    return LogSender(
        GrpcLogExporter(
            endpoint=otlp.endpoint,
            insecure=not otlp.endpoint.startswith("https:"),
            credentials=grpc_credentials(otlp),
            headers=dict(otlp.headers),
            timeout=otlp.timeout,
            compression=grpc.Compression.Gzip if otlp.compression == "gzip" else None,
        )
    )


def _refused(answer: bytes) -> int:
    """How many records a collector says that it did not take (OTLP, partial success)."""
    try:
        response = ExportLogsServiceResponse.FromString(answer)
    except DecodeError:
        return 0
    return int(response.partial_success.rejected_log_records)
