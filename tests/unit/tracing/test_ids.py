"""Ids: random, never zero, nobody else's."""

from __future__ import annotations

import random

from avatar_telemetry.tracing.ids import Ids
from tests.support.forked import in_child
from tests.support.providers import Ours


def test_ids_have_their_size() -> None:
    """Ids use all of their bits, and are no zero, which would be invalid."""
    ids = Ids()
    traces = [ids.generate_trace_id() for _ in range(500)]
    spans = [ids.generate_span_id() for _ in range(500)]
    assert all(0 < trace < 1 << 128 for trace in traces)
    assert all(0 < span < 1 << 64 for span in spans)
    assert len(set(traces)) == len(set(spans)) == 500
    assert max(trace.bit_length() for trace in traces) == 128
    assert max(span.bit_length() for span in spans) == 64
    assert ids.is_trace_id_random()


def test_no_id_is_zero() -> None:
    """Even where all random bits are zero, the id is valid."""
    ids = Ids()
    ids._bits = lambda bits: 0
    assert (ids.generate_trace_id(), ids.generate_span_id()) == (1, 1)


def test_an_application_with_repeatable_numbers_does_not_repeat_ids() -> None:
    """An application that resets Python's random numbers gets no id twice, and its own numbers."""
    ids = Ids()
    state = random.getstate()
    seen = []
    for _ in range(2):
        random.setstate(state)
        first = random.random()
        seen += [ids.generate_trace_id(), ids.generate_span_id()]
        second = random.random()
    assert len(set(seen)) == 4
    random.setstate(state)
    assert (first, second) == (random.random(), random.random())


def test_a_renewed_provider_does_not_repeat_its_parents_ids() -> None:
    """In a forked child the next ids are others than the parent's next ones."""
    side = Ours()
    side.tracer.start_span("before").end()

    def next_ids() -> str:
        return "".join(f"{side.tracer.start_span('x').get_span_context().trace_id:032x} "
                       for _ in range(3))  # fmt: skip

    def renewed() -> str:
        side.provider.renew()
        return next_ids()

    children = [in_child(renewed), in_child(renewed)]
    ids = " ".join([*children, next_ids()]).split()
    assert len(ids) == len(set(ids)) == 9
