"""One test span, metric or log record, sent as the server would send it."""

from __future__ import annotations

import gzip
import os
import secrets
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import (
    SEVERITY_NUMBER_INFO,
    LogRecord,
    ResourceLogs,
    ScopeLogs,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    Gauge,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from avatar_telemetry.cli.checks.answers import MAX_SAID, grpc_answer, http_answer
from avatar_telemetry.cli.checks.finding import Finding, error, good, warning
from avatar_telemetry.config.otlp import GRPC, Otlp, Signal
from avatar_telemetry.config.resource import resource_attributes
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.exporter.clients import SERVICES, grpc_credentials
from avatar_telemetry.exporter.foreign import Secrets, one_line
from avatar_telemetry.exporter.session import RefusedResponseError, open_session
from avatar_telemetry.version import VERSION

NAME = "avatar-telemetry doctor"
"""Of the span, and the text of the log record."""
METRIC_NAME = "avatar_telemetry_doctor"
MAX_READ = 4_000
PROTOBUF = "application/x-protobuf"


@dataclass(frozen=True)
class Trial:
    """How one signal is tried.

    Args:
        what: is sent, in a word.
        name: by which it is found at the collector.
        request: makes the message, with a resource, a scope and the time in nanoseconds.
    """

    what: str
    name: str
    request: Callable[[Resource, InstrumentationScope, int], Any]


def _span(resource: Resource, scope: InstrumentationScope, now: int) -> ExportTraceServiceRequest:
    span = Span(
        trace_id=secrets.token_bytes(16), span_id=secrets.token_bytes(8), name=NAME,
        kind=Span.SPAN_KIND_INTERNAL, start_time_unix_nano=now, end_time_unix_nano=now + 1,
    )  # fmt: skip
    spans = ResourceSpans(resource=resource, scope_spans=[ScopeSpans(scope=scope, spans=[span])])
    return ExportTraceServiceRequest(resource_spans=[spans])


def _metric(
    resource: Resource, scope: InstrumentationScope, now: int
) -> ExportMetricsServiceRequest:
    metric = Metric(
        name=METRIC_NAME, description="Sent by avatar-telemetry doctor; always 1.",
        gauge=Gauge(data_points=[NumberDataPoint(time_unix_nano=now, as_int=1)]),
    )  # fmt: skip
    metrics = ResourceMetrics(
        resource=resource, scope_metrics=[ScopeMetrics(scope=scope, metrics=[metric])]
    )
    return ExportMetricsServiceRequest(resource_metrics=[metrics])


def _record(resource: Resource, scope: InstrumentationScope, now: int) -> ExportLogsServiceRequest:
    record = LogRecord(
        time_unix_nano=now, observed_time_unix_nano=now, severity_number=SEVERITY_NUMBER_INFO,
        severity_text="INFO", body=AnyValue(string_value=NAME),
    )  # fmt: skip
    logs = ResourceLogs(
        resource=resource, scope_logs=[ScopeLogs(scope=scope, log_records=[record])]
    )
    return ExportLogsServiceRequest(resource_logs=[logs])


TRIALS: dict[Signal, Trial] = {
    "traces": Trial("span", NAME, _span),
    "metrics": Trial("metric", METRIC_NAME, _metric),
    "logs": Trial("log record", NAME, _record),
}


def send_test(settings: Settings, signal: Signal, otlp: Otlp, timeout: float) -> Iterator[Finding]:
    """Send one record once.

    Args:
        settings: for the resource.
        signal: whose.
        otlp: where and how.
        timeout: seconds at most.
    """
    body = _request(settings, signal).SerializeToString()
    send = _over_grpc if otlp.protocol == GRPC else _over_http
    yield from send(signal, otlp, body, min(timeout, otlp.timeout))


def _over_http(signal: Signal, otlp: Otlp, body: bytes, timeout: float) -> Iterator[Finding]:
    headers = {**dict(otlp.headers), "Content-Type": PROTOBUF}
    if otlp.compression != "none":
        headers["Content-Encoding"] = otlp.compression
        body = gzip.compress(body) if otlp.compression == "gzip" else zlib.compress(body)
    session = open_session(otlp)
    try:
        answer = session.request("POST", otlp.endpoint, data=body, headers=headers, timeout=timeout)
    except RefusedResponseError as fault:
        yield error(
            f"{signal}.answer", f"{otlp.place} answers with {fault}",
            "Name the collector itself; no redirect is followed and no long answer read.",
        )  # fmt: skip
        return
    except requests.Timeout:
        yield error(
            f"{signal}.timeout", f"{otlp.place} gives no answer in {timeout:g} s",
            "Is the collector busy, or something else listening there?",
        )  # fmt: skip
        return
    except requests.RequestException as fault:
        reason = _secrets(otlp).redact(_reason(fault))
        yield error(
            f"{signal}.failed", f"{otlp.place} gives no answer: {reason}",
            "Is it an OTLP receiver for HTTP? The collector's log may say more.",
        )  # fmt: skip
        return
    finally:
        session.close()
    if answer.status_code >= 300:
        said = _secrets(otlp).redact(_said(answer))
        yield http_answer(signal, otlp.place, answer.status_code, said)
        return
    yield _taken(signal, otlp, answer.content, answer.headers.get("Content-Type", PROTOBUF))


def _over_grpc(signal: Signal, otlp: Otlp, body: bytes, timeout: float) -> Iterator[Finding]:
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what it would print is a finding
    import grpc  # an extra; the settings were checked for it

    address = otlp.endpoint.partition("://")[2].partition("/")[0]
    credentials = grpc_credentials(otlp)
    channel = (
        grpc.secure_channel(address, credentials) if credentials else grpc.insecure_channel(address)
    )
    metadata = [(name.lower(), value) for name, value in otlp.headers]
    compression = grpc.Compression.Gzip if otlp.compression == "gzip" else None
    with channel:
        export = channel.unary_unary(SERVICES[signal].method)
        try:
            answer = export(body, timeout=timeout, metadata=metadata, compression=compression)
        except grpc.RpcError as fault:
            said = _secrets(otlp).redact(fault.details() or "")
            yield grpc_answer(signal, otlp.place, fault.code().name, said)
            return
    yield _taken(signal, otlp, answer, PROTOBUF)


def _taken(signal: Signal, otlp: Otlp, answer: bytes, content_type: str) -> Finding:
    """What a collector says that took something."""
    trial = TRIALS[signal]
    no_otlp = f"{otlp.place} takes the test {trial.what}, but its answer is no OTLP"
    try:
        if answer and content_type.startswith("text/html"):
            raise DecodeError
        readable = b"" if content_type.startswith("application/json") else answer
        partial = SERVICES[signal].response.FromString(readable).partial_success
    except DecodeError:
        return warning(f"{signal}.no_otlp", no_otlp, "Is it a web page instead of a collector?")
    said = one_line(_secrets(otlp).redact(partial.error_message[:MAX_READ]), MAX_SAID)
    if getattr(partial, SERVICES[signal].rejected) > 0:
        return error(
            f"{signal}.rejected",
            f"{otlp.place} rejects the test {trial.what}: {said}",
            "The collector's configuration and its log say why.",
        )  # fmt: skip
    if said:
        return warning(
            f"{signal}.warned", f"{otlp.place} takes it and warns: {said}",
            "The collector's log may say more.",
        )  # fmt: skip
    return good(f"{signal}.sent", f"{otlp.place} took the test {trial.what} ({trial.name!r})")


def _secrets(otlp: Otlp) -> Secrets:
    return Secrets([*(value for _, value in otlp.headers), urlsplit(otlp.endpoint).query])


def _request(settings: Settings, signal: Signal) -> Any:
    resource = Resource(
        attributes=[
            KeyValue(key=key, value=AnyValue(string_value=value))
            for key, value in resource_attributes(settings).items()
        ]
    )
    scope = InstrumentationScope(name="avatar_telemetry.doctor", version=VERSION)
    return TRIALS[signal].request(resource, scope, time.time_ns())


def _said(answer: requests.Response) -> str:
    """What an error's answer says: a ``google.rpc.Status`` by the OTLP specification, or text."""
    if answer.headers.get("Content-Type", "").startswith(PROTOBUF):
        try:
            message: str = Status.FromString(answer.content).message
            return message[:MAX_READ]
        except DecodeError:
            return ""
    if "html" in answer.headers.get("Content-Type", ""):
        return ""
    return answer.content[:200].decode("utf-8", "replace")


def _reason(fault: Exception) -> str:
    """The innermost words of an exception that wraps others."""
    inner: BaseException = fault
    while inner.args and isinstance(inner.args[0], BaseException):
        inner = inner.args[0]
    inner = getattr(inner, "reason", None) or inner if not isinstance(inner, OSError) else inner
    return one_line(str(inner.args[-1] if inner.args else inner), MAX_SAID)
