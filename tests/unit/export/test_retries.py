"""How often a batch of spans is sent: again where that can help, never where it cannot."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from email.utils import formatdate

import pytest

from avatar_telemetry import Settings
from avatar_telemetry.tracing.queue import Sender
from avatar_telemetry.tracing.senders import make_senders
from tests.support.clock import PauseClock
from tests.support.otlp_faults import Fault
from tests.support.otlp_fixtures import sink  # noqa: F401 - fixture
from tests.support.otlp_sink import OtlpSink
from tests.support.sdk_sources import make_spans


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> PauseClock:
    clock = PauseClock(time.time())
    monkeypatch.setattr(time, "time", clock)
    return clock


@pytest.fixture
def sender(
    sink: OtlpSink,  # noqa: F811
    clock: PauseClock,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Sender]:
    """Sends to the sink, for at most five seconds of the clock a batch."""
    environ = {
        "OTEL_EXPORT_ENABLED": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url,
        "OTEL_EXPORTER_OTLP_TIMEOUT": "5",
    }
    with monkeypatch.context() as patch:
        patch.setattr(threading, "Event", clock.event)  # that the exporter pauses with
        (made,) = make_senders(Settings.from_env(environ))
    yield made
    made.close()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 413, 500, 501])
def test_a_refusal_is_final(sink: OtlpSink, sender: Sender, status: int) -> None:  # noqa: F811
    """What will not be taken another time is sent once, whatever Retry-After says."""
    sink.behave(Fault.STATUS, status=status, headers={"Retry-After": "0"})
    assert sender.send(make_spans()) == 0
    assert len(sink.exchanges()) == 1


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_collector_is_asked_again(
    sink: OtlpSink,  # noqa: F811
    sender: Sender,
    clock: PauseClock,
    status: int,
) -> None:
    """As often as there is time for, with growing pauses; each try is the whole batch."""
    sink.behave(Fault.STATUS, status=status)
    assert sender.send(make_spans()) == 0
    exchanges = sink.exchanges()
    # After 1 s and 2 s, each a fifth more or less; 4 s more is too late.
    assert clock.pauses == [pytest.approx(1, rel=0.21), pytest.approx(2, rel=0.21)]
    assert len(exchanges) == 3
    assert len({each.body for each in exchanges}) == 1


@pytest.mark.parametrize(
    ("retry_after", "tries"),
    [
        pytest.param("0", 6, id="at-once"),
        pytest.param("3600", 1, id="later-than-there-is-time"),
        pytest.param(formatdate(time.time() - 60, usegmt=True), 6, id="a-date-gone-by"),
        pytest.param(formatdate(time.time() + 3600, usegmt=True), 1, id="a-late-date"),
    ],
)
def test_retry_after_is_honoured(
    sink: OtlpSink,  # noqa: F811
    sender: Sender,
    retry_after: str,
    tries: int,
) -> None:
    """The collector says when: at once, up to the limit of tries, or not within the time."""
    sink.behave(Fault.STATUS, status=429, headers={"Retry-After": retry_after})
    assert sender.send(make_spans()) == 0
    assert len(sink.exchanges()) == tries


@pytest.mark.parametrize("retry_after", ["soon", "nan", "Wed, 99 Nov 2026"])
def test_a_strange_retry_after_does_no_harm(
    sink: OtlpSink,  # noqa: F811
    sender: Sender,
    clock: PauseClock,
    retry_after: str,
) -> None:
    """A word, a number out of range or a date that is none: tries and time stay bounded."""
    sink.behave(Fault.STATUS, status=503, headers={"Retry-After": retry_after})
    assert sender.send(make_spans()) == 0
    assert 1 < len(sink.exchanges()) <= 6
    assert sum(clock.pauses) <= 5


def test_the_next_batch_arrives(sink: OtlpSink, sender: Sender) -> None:  # noqa: F811
    """A collector that is well again is sent the next batch at once."""
    sink.behave(Fault.STATUS, status=400)
    assert sender.send(make_spans()) == 0
    sink.behave()
    assert sender.send(make_spans(3)) == 6
    assert len(sink.spans()) == 6


def test_in_a_hurry_there_is_one_try(sink: OtlpSink, sender: Sender) -> None:  # noqa: F811
    """A worker that ends does not wait to try again."""
    sink.behave(Fault.STATUS, status=503, headers={"Retry-After": "0"})
    sender.hurry()
    assert sender.send(make_spans()) == 0
    assert len(sink.exchanges()) == 1


def test_spans_that_were_refused_are_no_success(sink: OtlpSink, sender: Sender) -> None:  # noqa: F811
    """Of a partial success (OTLP) the rest has arrived, and nothing is sent again."""
    sink.behave(Fault.PARTIAL_SUCCESS, rejected=2)
    assert sender.send(make_spans(3)) == 4
    assert len(sink.exchanges()) == 1
