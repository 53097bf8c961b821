"""Clients that send an encoded OTLP export request over HTTP or gRPC, or write it to the console.

Each client makes one attempt and returns its outcome (OTLP specification 1.x, "OTLP/gRPC Response"
and "OTLP/HTTP Response").
"""

from __future__ import annotations

import base64
import email.utils
import gzip
import json
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError, Message  # type: ignore[import-untyped]
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from avatar_telemetry._base.version import VERSION
from avatar_telemetry.config.destinations import settled
from avatar_telemetry.config.otlp import GRPC, Otlp, Signal
from avatar_telemetry.config.settings import Settings

USER_AGENT = f"OTel-OTLP-Exporter-Python-avatar-telemetry/{VERSION}"
RETRYABLE = frozenset({429, 502, 503, 504})
"""OTLP/HTTP, "Retryable Response Codes"."""
TOO_LARGE = 413
TOO_LARGE_DETAILS = "larger than max"
"""Occurs in the details of the status that gRPC servers return for a message above their limit."""
RETRYABLE_CODES = frozenset({
    "CANCELLED", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "OUT_OF_RANGE",
    "UNAVAILABLE", "DATA_LOSS",
})  # fmt: skip
"""OTLP/gRPC, "Failures"; RESOURCE_EXHAUSTED only where the server sets a retry delay."""
RETRY_INFO = "google.rpc.retryinfo-bin"
PACK: dict[Compression, Callable[[bytes], bytes]] = {
    Compression.NoCompression: bytes,
    Compression.Gzip: lambda data: gzip.compress(data, 6, mtime=0),
    Compression.Deflate: zlib.compress,
}
IDS = frozenset({"traceId", "spanId", "parentSpanId"})
OWN_NAMES = frozenset({"ConnectTimeout", "ProxyError", "ReadTimeout"})
"""Exceptions of requests whose names say more than those of their causes."""
MAX_WAIT = 3600.0
"""The longest wait that a collector may request, in seconds."""
CHANNEL = (
    ("grpc.primary_user_agent", USER_AGENT),
    ("grpc.initial_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 5000),
)
"""Options of a gRPC channel. By default it waits up to two minutes before it connects again."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one attempt.

    Args:
        accepted: true where the collector accepted the request.
        rejected: the number of items that the collector rejected (partial success).
        retry: true where the same request may succeed later.
        wait: the seconds until a retry that the collector requests.
        error: the reason, for the log; also that of a partial success.
        response: the ``requests.Response`` or ``grpc.RpcError``, for diagnosis.
        too_large: true where the collector rejected the request because of its size.
    """

    accepted: bool
    rejected: int = 0
    retry: bool = False
    wait: float = 0.0
    error: str = ""
    response: Any = field(default=None, compare=False, repr=False)
    too_large: bool = False


class Client(Protocol):
    """A client that sends the requests of one signal to one destination."""

    def send(self, request: bytes, timeout: float) -> Outcome:
        """Make one attempt within a timeout in seconds. Never raises for a fault of a collector."""

    def close(self) -> None:
        """Close the connections."""


@dataclass(frozen=True, slots=True)
class Service:
    """One OTLP service.

    Args:
        request: the message type of a request.
        response: the message type of a response.
        rejected: the field of a partial success with the number of rejected items.
        method: the gRPC method.
        levels: the names of resources, scopes and items in the JSON of a request.
    """

    request: type[Message]
    response: type[Message]
    rejected: str
    method: str
    levels: tuple[str, str, str]


SERVICES: dict[Signal, Service] = {
    "traces": Service(
        ExportTraceServiceRequest, ExportTraceServiceResponse, "rejected_spans",
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        ("resourceSpans", "scopeSpans", "spans"),
    ),
    "logs": Service(
        ExportLogsServiceRequest, ExportLogsServiceResponse, "rejected_log_records",
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        ("resourceLogs", "scopeLogs", "logRecords"),
    ),
    "metrics": Service(
        ExportMetricsServiceRequest, ExportMetricsServiceResponse, "rejected_data_points",
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        ("resourceMetrics", "scopeMetrics", "metrics"),
    ),
}  # fmt: skip


class HttpClient:
    """OTLP over HTTP with protobuf.

    Args:
        signal: the signal: traces, logs or metrics.
        otlp: the settings of the endpoint.
    """

    def __init__(self, signal: Signal, otlp: Otlp) -> None:
        from avatar_telemetry.exporter.session import open_session

        self._service = SERVICES[signal]
        self._url = otlp.endpoint
        compression = Compression(otlp.compression)
        self._pack = PACK[compression]
        self._session = open_session(otlp)
        self._session.headers.update(
            {"User-Agent": USER_AGENT, "Content-Type": "application/x-protobuf"}
        )
        if compression is not Compression.NoCompression:
            self._session.headers["Content-Encoding"] = compression.value
        self._session.headers.update(dict(otlp.headers))

    def send(self, request: bytes, timeout: float) -> Outcome:
        from avatar_telemetry.exporter.session import RefusedResponseError

        try:
            response = self._session.post(self._url, self._pack(request), timeout=timeout)
        except RefusedResponseError as error:
            return Outcome(False, error=str(error))
        except (OSError, ValueError) as error:
            # An error of requests, or a certificate that cannot be read now.
            return Outcome(False, retry=True, error=_described(error))
        status = response.status_code
        if 200 <= status < 300:
            return replace(_accepted(self._service, response.content), response=response)
        retry = status in RETRYABLE
        wait = _seconds(response.headers.get("Retry-After", "")) if retry else 0.0
        reason = f"HTTP status {status} {response.reason}"
        return Outcome(
            False, retry=retry, wait=wait, error=reason, too_large=status == TOO_LARGE,
            response=response,
        )  # fmt: skip

    def close(self) -> None:
        self._session.close()


class GrpcClient:
    """OTLP over gRPC (extra ``grpc``).

    Args:
        signal: the signal: traces, logs or metrics.
        otlp: the settings of the endpoint.
    """

    def __init__(self, signal: Signal, otlp: Otlp) -> None:
        self._service = SERVICES[signal]
        self._otlp = otlp
        self._headers = tuple((name.lower(), value) for name, value in otlp.headers)
        self._channel: Any = None

    def send(self, request: bytes, timeout: float) -> Outcome:
        import grpc

        try:
            self._channel = self._channel or self._open()
            call = self._channel.unary_unary(self._service.method, None, None)
            response = call(request, timeout=timeout, metadata=self._headers)
        except grpc.RpcError as error:
            return _failed_call(error)
        except (OSError, ValueError) as error:
            # A certificate cannot be read now, the channel was closed, or gRPC refuses a header.
            return Outcome(False, retry=True, error=f"gRPC: {error}")
        return _accepted(self._service, response)

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()

    def _open(self) -> Any:
        import grpc

        target = self._otlp.endpoint.partition("://")[2] or self._otlp.endpoint
        credentials = grpc_credentials(self._otlp)
        packed = self._otlp.compression == "gzip"
        compression = grpc.Compression.Gzip if packed else grpc.Compression.NoCompression
        if credentials is None:
            return grpc.insecure_channel(target, CHANNEL, compression)
        return grpc.secure_channel(target, credentials, CHANNEL, compression)


class ConsoleClient:
    """Write each item as one line of OTLP/JSON to the server's standard output.

    Args:
        signal: the signal: traces, logs or metrics.
    """

    def __init__(self, signal: Signal) -> None:
        self._service = SERVICES[signal]

    def send(self, request: bytes, timeout: float) -> Outcome:
        try:
            message = self._service.request.FromString(request)
            fields = MessageToDict(message, use_integers_for_enums=True)
            for item in _items(fields, self._service.levels):
                sys.stdout.write(f"{json.dumps(_with_hex_ids(item))}\n")
                sys.stdout.flush()  # one write of the whole line: other processes write there, too
        except (OSError, ValueError, DecodeError) as error:
            return Outcome(False, error=f"standard output: {error}")
        return Outcome(True)

    def close(self) -> None:
        """Do nothing: standard output is the server's."""


def make_clients(settings: Settings, signal: Signal) -> list[Client]:
    """Make the clients of a signal, one for each of its exporters that send."""
    exporters = getattr(settings, f"{signal}_exporters")
    clients: list[Client] = []
    if "otlp" in exporters:
        otlp = settled(settings, signal)
        make = GrpcClient if otlp.protocol == GRPC else HttpClient
        clients.append(make(signal, otlp))
    if "console" in exporters:
        clients.append(ConsoleClient(signal))
    return clients


def grpc_credentials(otlp: Otlp) -> Any:
    """Return the credentials of a gRPC channel, ``None`` for one without TLS."""
    if not otlp.endpoint.startswith("https:"):
        return None
    import grpc

    files = (otlp.certificate, otlp.client_key, otlp.client_certificate)
    return grpc.ssl_channel_credentials(
        *(Path(path).read_bytes() if path else None for path in files)
    )


def _items(message: dict[str, Any], levels: tuple[str, str, str]) -> list[dict[str, Any]]:
    """Return every span, log record or metric of a request with its resource and scope."""
    resources, scopes, items = levels
    return [
        {"resource": resource.get("resource", {}), "scope": scope.get("scope", {}), **item}
        for resource in message.get(resources, ())
        for scope in resource.get(scopes, ())
        for item in scope.get(items, ())
    ]


def _with_hex_ids(value: Any) -> Any:
    """Return OTLP/JSON of protobuf's JSON: ids are hexadecimal (OTLP, "JSON Protobuf Encoding")."""
    if isinstance(value, list):
        return [_with_hex_ids(each) for each in value]
    if isinstance(value, dict):
        return {
            key: base64.b64decode(each).hex() if key in IDS else _with_hex_ids(each)
            for key, each in value.items()
        }
    return value


def _accepted(service: Service, body: bytes) -> Outcome:
    """Return the outcome of a success, which may be partial; a body other than OTLP is ignored."""
    try:
        partial = service.response.FromString(body).partial_success
    except DecodeError:
        return Outcome(True)
    return Outcome(
        True, max(int(getattr(partial, service.rejected)), 0), error=partial.error_message
    )


def _described(error: BaseException) -> str:
    """Return name and text of the first exception of a chain: those after it repeat the URL."""
    cause = error
    while inner := cause.__cause__ or cause.__context__:
        cause = inner
    name = type(error).__name__
    return f"{name if name in OWN_NAMES else type(cause).__name__}: {cause}"


def _failed_call(error: Any) -> Outcome:
    code, details = error.code().name, error.details() or ""
    wait = _retry_delay(error)
    retry = code in RETRYABLE_CODES and (code != "RESOURCE_EXHAUSTED" or wait is not None)
    return Outcome(
        False, retry=retry, wait=wait or 0.0, error=f"gRPC {code}: {details}",
        response=error, too_large=code == "RESOURCE_EXHAUSTED" and TOO_LARGE_DETAILS in details,
    )  # fmt: skip


def _retry_delay(error: Any) -> float | None:
    """Return the seconds of ``google.rpc.RetryInfo``, ``None`` where there is none."""
    from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]

    for name, value in error.trailing_metadata() or ():
        if name == RETRY_INFO:
            try:
                delay = RetryInfo.FromString(value).retry_delay
            except DecodeError:
                return None
            seconds = float(delay.seconds + delay.nanos / 1e9)
            return min(max(seconds, 0.0), MAX_WAIT)
    return None


def _seconds(text: str) -> float:
    """Return the seconds of a ``Retry-After`` header (RFC 9110, section 10.2.3)."""
    text = text.strip()
    if text.isdecimal() and len(text) < 10:
        return min(float(text), MAX_WAIT)
    try:
        wait = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(wait, 0.0), MAX_WAIT)
