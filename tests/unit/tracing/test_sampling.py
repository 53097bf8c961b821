"""The short cut of a sampler decides as the SDK's sampler itself."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import (
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
)
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

from avatar_telemetry.config.parsing import SAMPLERS
from avatar_telemetry.tracing import sampling
from avatar_telemetry.tracing.sampling import Sampling, make_sampling
from tests.support.providers import Ours, on_both

RATIOS = st.sampled_from(["", "0", "0.001", "0.5", "0.999999", "1"])
TRACE_IDS = st.integers(1, (1 << 128) - 1) | st.integers(1, 1 << 64)


@given(st.sampled_from(SAMPLERS), RATIOS, TRACE_IDS, st.sampled_from([None, True, False]))
def test_decisions(name: str, ratio: str, trace_id: int, parent: bool | None) -> None:
    """For every standard name, trace id and parent, the short cut says what the sampler says."""
    made = make_sampling(name, ratio)
    context = context_api.Context()
    if parent is not None:
        flags = TraceFlags(TraceFlags.SAMPLED if parent else 0)
        remote = NonRecordingSpan(SpanContext(trace_id, 1, True, flags))
        context = trace.set_span_in_context(remote, context)
    result = made.sampler.should_sample(context, trace_id, "name")
    assert made.bound is not None
    assert made.decide(trace_id.to_bytes(16, "big"), parent) == result.decision.is_sampled()


@pytest.mark.parametrize("ratio", ["0", "0.25", "0.5", "1"])
@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_decisions_at_the_bound(ratio: str, offset: int) -> None:
    """The trace id that is just sampled, and the one that is just not, are the SDK's."""
    made = make_sampling("traceidratio", ratio)
    trace_id = 1 << 127 | max(made.sampler.bound + offset, 0)  # type: ignore[attr-defined]
    result = made.sampler.should_sample(context_api.Context(), trace_id, "name")
    assert made.bound is not None
    assert made.decide(trace_id.to_bytes(16, "big"), None) == result.decision.is_sampled()


@pytest.mark.parametrize(
    ("name", "kind", "root"),
    [
        ("always_on", None, "AlwaysOnSampler"),
        ("always_off", None, "AlwaysOffSampler"),
        ("traceidratio", None, "TraceIdRatioBased{0.25}"),
        ("parentbased_always_on", ParentBased, "root:AlwaysOnSampler"),
        ("parentbased_always_off", ParentBased, "root:AlwaysOffSampler"),
        ("parentbased_traceidratio", ParentBased, "root:TraceIdRatioBased{0.25}"),
    ],
)
def test_names(name: str, kind: type | None, root: str) -> None:
    """Each standard name is the sampler that the specification means by it."""
    sampler = make_sampling(name, "0.25").sampler
    assert root in sampler.get_description()
    assert kind is None or isinstance(sampler, kind)
    assert set(SAMPLERS) >= {name}


@pytest.mark.parametrize("name", ["traceidratio", "parentbased_traceidratio"])
def test_without_a_share_each_trace_is_recorded(name: str) -> None:
    """An empty OTEL_TRACES_SAMPLER_ARG means 1.0 (OpenTelemetry specification)."""
    made = make_sampling(name, "")
    assert "TraceIdRatioBased{1.0}" in made.sampler.get_description()
    assert made.bound is not None
    assert made.decide(b"\xff" * 16, None)


def test_a_share_of_traces() -> None:
    """About as many traces are recorded as the share says."""
    side = Ours(make_sampling("traceidratio", "0.25"))
    for _ in range(4000):
        side.tracer.start_span("name").end()
    assert 800 < len(side.ended) < 1200


class Custom(Sampler):
    """Asks for spans by their name, and tells what it was asked."""

    def __init__(self, argument: str = "") -> None:
        self.argument = argument
        self.asked: list[tuple[Any, ...]] = []

    def should_sample(  # type: ignore[override]
        self, parent_context: Any, trace_id: int, name: str, kind: Any = None,
        attributes: Any = None, links: Any = None, trace_state: Any = None,
    ) -> SamplingResult:  # fmt: skip
        self.asked.append((name, kind, dict(attributes or {}), len(links or ())))
        decision = {"drop": Decision.DROP, "record": Decision.RECORD_ONLY}
        return SamplingResult(
            decision.get(name, Decision.RECORD_AND_SAMPLE), {"sampled.by": "custom"},
            TraceState([("custom", "yes")]),
        )  # fmt: skip

    def get_description(self) -> str:
        return "Custom"


def test_a_custom_sampler_is_asked_each_time() -> None:
    """It gets what the API gives it; its attributes and trace state are on the span."""

    def scenario(tracer: Any) -> Any:
        seen = []
        for name in ("keep", "drop", "record"):
            with tracer.start_as_current_span(name, attributes={"mine": 1}) as span:
                inner = tracer.start_span("inner")
                inner.end()
            context = span.get_span_context()
            seen.append((span.is_recording(), context.trace_flags, dict(context.trace_state)))
        return seen

    ours, theirs = on_both(scenario, sampling=Sampling(Custom()))
    assert ours == theirs
    names = [span["name"] for span in ours[1]]
    assert names == ["inner", "keep", "inner", "inner"]


def test_a_custom_sampler_decides_over_requests() -> None:
    """The server span of a request is asked for like any other."""
    sampler = Custom()
    tracer = Ours(Sampling(sampler)).tracer
    remote = SpanContext(0xA1, 0xB2, True, TraceFlags(1))
    kept = tracer.start_root("keep", trace.SpanKind.SERVER, 1, remote)
    dropped = tracer.start_root("drop", trace.SpanKind.SERVER, 1)
    assert (kept.is_recording(), dropped.is_recording()) == (True, False)
    assert kept.trace_id == 0xA1
    assert kept.get_span_context().trace_state == {"custom": "yes"}
    assert sampler.asked == [
        ("keep", trace.SpanKind.SERVER, {}, 0), ("drop", trace.SpanKind.SERVER, {}, 0)
    ]  # fmt: skip


class Point:
    """An entry point that gives the custom sampler."""

    def load(self) -> type[Custom]:
        return Custom


def test_an_installed_sampler(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is none of the standard's is looked up among what is installed."""
    asked = []

    def entry_points(**wanted: str) -> list[Point]:
        asked.append(wanted)
        return [Point()]

    monkeypatch.setattr(sampling, "entry_points", entry_points)
    made = make_sampling("mine", "the argument")
    assert isinstance(made.sampler, Custom)
    assert (made.sampler.argument, made.bound) == ("the argument", None)
    assert asked == [{"group": "opentelemetry_traces_sampler", "name": "mine"}]
