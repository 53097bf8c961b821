"""The exporter of log records over HTTP: how many arrived, whatever the collector answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.sdk._logs import ReadableLogRecord

from avatar_telemetry import Settings
from avatar_telemetry.log_records.senders import make_log_sender
from avatar_telemetry.tracing.queue import Sender
from tests.support.otlp_faults import Fault
from tests.support.otlp_sink import OtlpSink
from tests.support.sdk_sources import make_logs


@pytest.fixture
def sink() -> Iterator[OtlpSink]:
    with OtlpSink() as sink:
        yield sink


@pytest.fixture
def sender(sink: OtlpSink) -> Iterator[Sender[ReadableLogRecord]]:
    sender = make_log_sender(Settings.from_env({"OTEL_EXPORTER_OTLP_ENDPOINT": sink.url}))
    yield sender
    sender.close()


def test_records_arrive(sink: OtlpSink, sender: Sender[ReadableLogRecord]) -> None:
    """A batch arrives whole."""
    assert sender.send(make_logs("one", "two")) == 2
    assert [each.proto.body.string_value for each in sink.logs()] == ["one", "two"]


@pytest.mark.parametrize(
    ("fault", "measures", "arrived"),
    [
        pytest.param(Fault.STATUS, {"status": 400}, 0, id="refused"),
        pytest.param(Fault.PARTIAL_SUCCESS, {"rejected": 1}, 1, id="one rejected"),
        pytest.param(Fault.PARTIAL_SUCCESS, {"rejected": 9}, 0, id="more rejected than sent"),
        pytest.param(Fault.WRONG_PROTOBUF, {}, 2, id="accepted with a response that is no OTLP"),
    ],
)
def test_records_that_arrived_are_counted(
    sink: OtlpSink, sender: Sender[ReadableLogRecord],
    fault: Fault, measures: dict[str, int], arrived: int,
) -> None:  # fmt: skip
    """A collector that accepts a request may still reject records of it."""
    sink.behave(fault, **measures)
    assert sender.send(make_logs("one", "two")) == arrived
    assert len(sink.exchanges()) == 1


def test_one_try_at_the_end(sink: OtlpSink, sender: Sender[ReadableLogRecord]) -> None:
    """A worker that ends does not wait to try again."""
    sink.behave(Fault.STATUS, status=503, headers={"Retry-After": "0"})
    sender.hurry()
    assert sender.send(make_logs("one")) == 0
    assert len(sink.exchanges()) == 1
