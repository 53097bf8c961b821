"""The records in the requests to a sink of OTLP.

Every sink of the tests (HTTP or gRPC, in the test's process or in one of its own) is a
:class:`Received`: it tells exchanges, and this module makes spans, metrics and log records of them.
Parsing is done by whoever asks, never by the sink while it serves.
"""

from __future__ import annotations

import gzip
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from google.protobuf.message import Message
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
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, ResourceMetrics
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span

from tests.support.waiting import DEADLINE as DEADLINE
from tests.support.waiting import eventually

TRACES, METRICS, LOGS = "/v1/traces", "/v1/metrics", "/v1/logs"
REQUESTS: dict[str, type[Message]] = {
    TRACES: ExportTraceServiceRequest,
    METRICS: ExportMetricsServiceRequest,
    LOGS: ExportLogsServiceRequest,
}
RESPONSES: dict[str, type[Message]] = {
    TRACES: ExportTraceServiceResponse,
    METRICS: ExportMetricsServiceResponse,
    LOGS: ExportLogsServiceResponse,
}
UNPACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "identity": bytes,
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
}
Attributes = dict[str, Any]
Labels = frozenset[tuple[str, Any]]
T = TypeVar("T")


@dataclass(frozen=True)
class Exchange:
    """One request that came to a sink.

    Args:
        method: of the request; empty where the sink read nothing.
        path: of the request, without its query; empty where the sink read nothing.
        headers: of the request, names in lower case.
        body: as it came, compressed or not.
        fault: how the sink misbehaved; ``none`` where it did not, ``handshake`` where TLS failed.
        accepted: whether it was meant to arrive.
        when: it was read, in seconds since the epoch.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    fault: str
    accepted: bool
    when: float

    @cached_property
    def content(self) -> bytes:
        """The body without its compression."""
        return UNPACK[self.headers.get("content-encoding", "")](self.body)

    @cached_property
    def message(self) -> Any:
        """The body as the protobuf message that belongs to the path."""
        return REQUESTS[self.path].FromString(self.content)


@dataclass(frozen=True)
class ReceivedSpan:
    """A span with where it came from."""

    proto: Span
    scope: str
    resource: Attributes

    @property
    def name(self) -> str:
        return self.proto.name

    @property
    def kind(self) -> str:
        """``SERVER``, ``CLIENT``, ``INTERNAL``, ..."""
        return Span.SpanKind.Name(self.proto.kind).removeprefix("SPAN_KIND_")

    @property
    def trace_id(self) -> str:
        return self.proto.trace_id.hex()

    @property
    def span_id(self) -> str:
        return self.proto.span_id.hex()

    @property
    def parent_id(self) -> str:
        """Empty for a root."""
        return self.proto.parent_span_id.hex()

    @property
    def attributes(self) -> Attributes:
        return plain(self.proto.attributes)


@dataclass(frozen=True)
class ReceivedMetric:
    """One export of a metric with where it came from."""

    proto: Metric
    scope: str
    resource: Attributes

    @property
    def name(self) -> str:
        return self.proto.name

    @property
    def points(self) -> dict[Labels, Any]:
        """The protobuf data points by their attributes."""
        data = getattr(self.proto, self.proto.WhichOneof("data") or "gauge")
        return {frozenset(plain(point.attributes).items()): point for point in data.data_points}


@dataclass(frozen=True)
class ReceivedLog:
    """A log record with where it came from."""

    proto: LogRecord
    scope: str
    resource: Attributes


class Received(ABC):
    """The records that a sink received; the sink itself adds how to wait for exchanges."""

    @abstractmethod
    def exchanges(self) -> list[Exchange]:
        """All requests, also those that were met with a fault, in the order in which they came."""

    def resource_spans(self) -> list[ResourceSpans]:
        """The spans of accepted requests, as they stand in the messages."""
        return [each for message in self._accepted(TRACES) for each in message.resource_spans]

    def resource_metrics(self) -> list[ResourceMetrics]:
        """The metrics of accepted requests, as they stand in the messages."""
        return [each for message in self._accepted(METRICS) for each in message.resource_metrics]

    def resource_logs(self) -> list[ResourceLogs]:
        """The log records of accepted requests, as they stand in the messages."""
        return [each for message in self._accepted(LOGS) for each in message.resource_logs]

    def spans(self) -> list[ReceivedSpan]:
        """Every span of accepted requests."""
        return _taken_apart(ReceivedSpan, self.resource_spans(), "scope_spans", "spans")

    def metrics(self) -> list[ReceivedMetric]:
        """Every export of every metric of accepted requests, oldest first."""
        return _taken_apart(ReceivedMetric, self.resource_metrics(), "scope_metrics", "metrics")

    def logs(self) -> list[ReceivedLog]:
        """Every log record of accepted requests."""
        return _taken_apart(ReceivedLog, self.resource_logs(), "scope_logs", "log_records")

    def newest(self, name: str, instance: str | None = None) -> dict[Labels, Any]:
        """The newest data point of each series of a metric.

        Args:
            name: of the metric.
            instance: only of this ``service.instance.id``.
        """
        return {
            labels: point
            for metric in self.metrics()
            if metric.name == name and instance in (None, metric.resource.get(INSTANCE))
            for labels, point in metric.points.items()
        }

    def await_spans(self, number: int) -> list[ReceivedSpan]:
        """Wait until at least so many spans have come; all that have."""
        return self._await(self.spans, number)

    def await_metrics(self, number: int) -> list[ReceivedMetric]:
        """Wait until at least so many exports of metrics have come; all that have."""
        return self._await(self.metrics, number)

    def await_logs(self, number: int) -> list[ReceivedLog]:
        """Wait until at least so many log records have come; all that have."""
        return self._await(self.logs, number)

    def await_exchanges(self, number: int) -> list[Exchange]:
        """Wait until at least so many requests have come, accepted or not; all that have."""
        return self._await(self.exchanges, number)

    def _accepted(self, path: str) -> Iterator[Any]:
        for exchange in self.exchanges():
            if exchange.accepted and exchange.path == path:
                yield exchange.message

    def _await(self, ask: Callable[[], list[T]], number: int) -> list[T]:
        found: list[T] = []

        def came() -> bool:
            found[:] = ask()
            return len(found) >= number

        try:
            eventually(came)
        except AssertionError:
            raise AssertionError(f"{len(found)} came, {number} should have") from None
        return found


INSTANCE = "service.instance.id"


def _taken_apart(
    kind: Callable[[Any, str, Attributes], T], wholes: Sequence[Any], parts: str, items: str
) -> list[T]:
    return [
        kind(item, part.scope.name, plain(whole.resource.attributes))
        for whole in wholes
        for part in getattr(whole, parts)
        for item in getattr(part, items)
    ]


def plain(attributes: Any) -> Attributes:
    """Protobuf key-values as a dictionary; one that names a key twice is a fault."""
    found: Attributes = {}
    for each in attributes:
        assert isinstance(each, KeyValue)
        assert each.key not in found, f"{each.key} stands twice"
        found[each.key] = _value(each.value)
    return found


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return tuple(_value(each) for each in value.array_value.values)
    if kind == "kvlist_value":
        return plain(value.kvlist_value.values)
    return getattr(value, kind) if kind else None
