"""What spans are sent with: how many arrived, whatever the collector says."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as official
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags, TraceState

from avatar_telemetry.config.settings import Settings
from avatar_telemetry.tracing import encoder, senders
from avatar_telemetry.tracing.senders import (
    GRPC_BATCH,
    PACE,
    HttpSender,
    SpanSender,
    batch_size,
    make_senders,
)
from tests.support.forked import in_child
from tests.support.otlp_faults import Fault
from tests.support.otlp_sink import OtlpSink
from tests.support.providers import Ours


@pytest.fixture
def sink() -> Iterator[OtlpSink]:
    with OtlpSink() as sink:
        yield sink


def make(sink: OtlpSink, **environ: str) -> HttpSender:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": sink.url, **environ}
    (sender,) = make_senders(Settings.from_env(environ))
    assert isinstance(sender, HttpSender)
    return sender


def spans(number: int, name: str = "name") -> list[Any]:
    side = Ours()
    for _ in range(number):
        side.tracer.start_span(name).end()
    return side.ended


@pytest.mark.parametrize("compression", ["none", "gzip", "deflate"])
def test_spans_arrive(sink: OtlpSink, compression: str) -> None:
    """A batch arrives whole, compressed or not, with the headers that are set."""
    sender = make(
        sink, OTEL_EXPORTER_OTLP_COMPRESSION=compression, OTEL_EXPORTER_OTLP_HEADERS="x-mine=yes"
    )
    assert sender.send(spans(3)) == 3
    assert [span.name for span in sink.spans()] == ["name"] * 3
    (exchange,) = sink.exchanges()
    assert exchange.headers["x-mine"] == "yes"
    assert exchange.headers.get("content-encoding", "none") == compression
    sender.close()


def test_a_batch_is_encoded_with_pauses(sink: OtlpSink, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the spans of a large batch the interpreter is left to the requests."""
    pauses: list[int] = []
    encoded: list[int] = []
    monkeypatch.setattr(senders, "give_way", lambda: pauses.append(len(encoded)))
    original = encoder._encoded
    monkeypatch.setattr(encoder, "_encoded", lambda span: encoded.append(1) or original(span))
    sender = make(sink)
    assert sender.send(spans(3 * PACE)) == 3 * PACE
    assert pauses == [PACE, 2 * PACE]
    assert len(sink.spans()) == 3 * PACE
    sender.close()


@pytest.mark.parametrize(
    ("fault", "measures", "arrived"),
    [
        pytest.param(Fault.PARTIAL_SUCCESS, {"rejected": 2}, 1, id="refuses two"),
        pytest.param(Fault.PARTIAL_SUCCESS, {"rejected": 9}, 0, id="refuses more than there were"),
        pytest.param(Fault.STATUS, {"status": 400}, 0, id="400"),
        pytest.param(Fault.WRONG_PROTOBUF, {}, 3, id="200 with an answer that is none"),
        pytest.param(Fault.GARBAGE, {}, 0, id="no HTTP"),
        pytest.param(Fault.REDIRECT, {}, 0, id="redirect"),
    ],
)
def test_how_many_arrived(
    sink: OtlpSink, fault: Fault, measures: dict[str, Any], arrived: int
) -> None:
    """What the collector refused, or could not be asked, has not arrived."""
    sender = make(sink)
    sender.hurry()
    sink.behave(fault, **measures)
    assert sender.send(spans(3)) == arrived
    sender.close()


def test_a_hurried_sender_tries_once(sink: OtlpSink) -> None:
    """At the end of a worker a sick collector gets one try."""
    sender = make(sink)
    sender.hurry()
    sink.behave(Fault.STATUS, status=503)
    assert sender.send(spans(1)) == 0
    assert len(sink.exchanges()) == 1
    sender.close()


def test_a_forked_child_does_not_speak_on_its_parents_connection(sink: OtlpSink) -> None:
    """Parent and child send at the same time, and every batch of both arrives."""
    sender = make(sink)
    assert sender.send(spans(1, "before")) == 1

    def child() -> str:
        sender.renew()
        assert not sender._session.get_adapter(sink.url).poolmanager.pools
        return str(sum(sender.send(spans(1, "child")) for _ in range(10)))

    assert in_child(child) == "10"
    assert sum(sender.send(spans(1, "parent")) for _ in range(10)) == 10
    names = [span.name for span in sink.spans()]
    assert sorted(names) == ["before"] + ["child"] * 10 + ["parent"] * 10
    sender.close()


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        pytest.param({}, 512, id="HTTP"),
        pytest.param({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, GRPC_BATCH, id="gRPC"),
        pytest.param({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_TRACES_EXPORTER": "console"},
                     512, id="gRPC for others"),
        pytest.param({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                      "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "512"}, 512, id="gRPC, as told"),
    ],
)  # fmt: skip
def test_how_much_is_sent_at_once(environ: dict[str, str], expected: int) -> None:
    """As much as is told; else as specified, and little over gRPC, whose encoder knows no pause."""
    assert batch_size(Settings.from_env(environ)) == expected


def test_any_exporter_of_the_sdk() -> None:
    """Another exporter gets the spans as the SDK would give them."""
    exporter = InMemorySpanExporter()
    sender = SpanSender(exporter)
    sender.hurry()
    sender.renew()
    assert sender.send(spans(2)) == 2
    assert len(exporter.get_finished_spans()) == 2
    sender.close()
    assert sender.send(spans(2)) == 0
    assert exporter.export([]) is SpanExportResult.FAILURE


@pytest.mark.parametrize(
    ("refused", "arrived", "line"),
    [
        pytest.param(-5, 3, "", id="negative"),
        pytest.param(0, 3, "", id="none"),
        pytest.param(2, 1, "The collector refused 2 spans of 3.", id="some"),
        pytest.param(1 << 40, 0, "The collector refused 3 spans of 3.", id="more than were sent"),
    ],
)
def test_a_number_of_refused_spans_is_checked(
    sink: OtlpSink, caplog: pytest.LogCaptureFixture, refused: int, arrived: int, line: str
) -> None:
    """A collector can refuse none to all of what was sent, whatever it reports."""
    sender = make(sink)
    response = ExportTraceServiceResponse()
    response.partial_success.rejected_spans = refused
    sender._export = lambda items: True  # type: ignore[method-assign]
    sender._session.answer = response.SerializeToString()
    assert sender.send(spans(3)) == arrived
    assert [each.getMessage() for each in caplog.records] == [line] * bool(line)
    sender.close()


@pytest.mark.parametrize("exporter", ["http", "console", "grpc"])
def test_a_callers_trace_state_is_not_exported(
    monkeypatch: pytest.MonkeyPatch, exporter: str
) -> None:
    """It is propagated, also after the end of the span, and no exporter sends it."""
    state = TraceState([("vendor", "marked")])
    caller = SpanContext(0xA1, 0xB2, True, TraceFlags(1), state)
    side = Ours()
    span = side.tracer.start_root("name", SpanKind.SERVER, 1, caller)
    child = side.tracer.start_child("child", span, 2)
    child.end()
    span.end()
    for each in (span, child):
        assert dict(each.get_span_context().trace_state) == {"vendor": "marked"}
    if exporter == "http":
        sent = encoder.encode_spans([span, child])
    elif exporter == "console":
        (sender,) = make_senders(Settings.from_env({"OTEL_TRACES_EXPORTER": "console"}))
        text = sender._exporter.out = io.StringIO()
        assert sender.send([span, child]) == 2
        sent = text.getvalue().encode()
    else:
        inner = InMemorySpanExporter()
        assert SpanSender(inner).send([span, child]) == 2
        sent = official(inner.get_finished_spans()).SerializeToString()
    assert b"child" in sent
    assert b"vendor" not in sent
    assert b"marked" not in sent


def test_the_console() -> None:
    """OTEL_TRACES_EXPORTER=console prints spans; none has no sender."""
    (sender,) = make_senders(Settings.from_env({"OTEL_TRACES_EXPORTER": "console"}))
    text = sender._exporter.out = io.StringIO()
    assert sender.send(spans(1)) == 1
    assert '"name": "name"' in text.getvalue()
    assert make_senders(Settings.from_env({"OTEL_TRACES_EXPORTER": "none"})) == []
    both = make_senders(Settings.from_env({"OTEL_TRACES_EXPORTER": "otlp,console"}))
    assert [type(each) for each in both] == [HttpSender, SpanSender]
    for each in both:
        each.close()
