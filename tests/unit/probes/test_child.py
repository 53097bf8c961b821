"""Child spans of probes: never in the way, and silent about what an exception said."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry import trace

from avatar_telemetry.probes.child import child_span
from avatar_telemetry.wsgi.request import CURRENT
from tests.support.cache_requests import within
from tests.support.recorder import Recorder
from tests.support.traced import Spans, traced


class Unusual(Exception):
    """An error of a library."""


def test_a_span_is_current_within_its_block(recorder: Recorder) -> None:
    """What is called inside the block becomes a child of the span."""
    spans = Spans()

    def work() -> None:
        with (
            traced(spans),
            child_span(CURRENT.get(), "outer", {"kind": "a"}),  # type: ignore[arg-type]
            child_span(CURRENT.get(), "inner", {}),  # type: ignore[arg-type]
        ):
            assert trace.get_current_span().get_span_context().is_valid
        assert trace.get_current_span() is trace.INVALID_SPAN

    within(recorder, work)
    inner, outer = spans.ended
    assert (inner.name, outer.name) == ("inner", "outer")
    assert inner.parent is not None and outer.context is not None
    assert inner.parent.span_id == outer.context.span_id
    assert dict(outer.attributes or {}) == {"kind": "a"}


def test_without_a_tracer_there_is_none(recorder: Recorder) -> None:
    """A request whose spans are not recorded gets a span that records nothing."""

    def work() -> None:
        with child_span(CURRENT.get(), "name", {}) as span:  # type: ignore[arg-type]
            assert not span.is_recording()

    within(recorder, work)


def test_an_exception_passes_and_leaves_its_type(recorder: Recorder) -> None:
    """The block's exception goes on; its message, which may hold anything, is not recorded."""
    spans = Spans()

    def work() -> None:
        with (
            traced(spans),
            pytest.raises(Unusual),
            child_span(CURRENT.get(), "name", {}),  # type: ignore[arg-type]
        ):
            raise Unusual("bob@example.com")

    within(recorder, work)
    (span,) = spans.ended
    assert dict(span.attributes or {}) == {"error.type": f"{__name__}.Unusual"}
    assert span.status.status_code is trace.StatusCode.ERROR
    assert "bob" not in spans.text()


class Broken:
    """A tracer of which every part fails at some time."""

    def __init__(self, at: str) -> None:
        self._at = at

    def start_span(self, *args: Any, **kwargs: Any) -> Any:
        if self._at == "start":
            raise RuntimeError("no span")
        return self

    def end(self) -> None:
        raise RuntimeError("no end")


@pytest.mark.parametrize("at", ["start", "end"])
def test_a_broken_tracer_is_not_in_the_way(tmp_path, at: str) -> None:
    """What fails in a tracer or a span processor is counted as ours, and the block runs."""
    recorder = Recorder(tmp_path)
    ran = []

    def work() -> None:
        spans = Spans()
        spans.tracer = Broken(at)  # type: ignore[assignment]
        with traced(spans), child_span(CURRENT.get(), "name", {}):  # type: ignore[arg-type]
            ran.append(True)
        assert trace.get_current_span() is trace.INVALID_SPAN

    within(recorder, work)
    assert ran == [True]
    assert recorder.value("avatar_telemetry_internal_errors_total", where="probes") == 1
    recorder.book.detach()
