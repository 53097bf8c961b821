"""Families as OTLP metrics: the same series, names and values, seen after the official encoder."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.resources import Resource

from avatar_telemetry.exporter.bridge import MAX_POINTS, Bridge
from avatar_telemetry.exporter.continuity import Continuity
from avatar_telemetry.metrics.family import Exemplar, Family, Labels, family, format_bound

CUMULATIVE, DELTA = 2, 1
SINCE, FIRST, SECOND, THIRD = 1_000, 2_000, 3_000, 4_000
"""Nanoseconds since the epoch."""
Samples = dict[tuple[str, Labels], float]

# Without f: no name is that of another family's sample, such as "..._info".
NAMES = st.text("abcdeghijklmnop0123456789_", min_size=1, max_size=8).map(lambda text: "m" + text)
LABELS = st.dictionaries(NAMES, st.text(max_size=8), max_size=3)
SERIES = st.lists(LABELS, min_size=1, max_size=6, unique_by=lambda each: tuple(each.items())).map(
    lambda some: [tuple(sorted(each.items())) for each in some]
)
COUNTS = st.integers(min_value=0, max_value=1 << 50).map(float)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
BOUNDS = st.lists(FINITE, min_size=1, max_size=6, unique=True).map(sorted)


class Memory(Continuity):
    """One that is not kept in a folder."""

    def __init__(self, *, delta: bool = False) -> None:
        super().__init__(Path("/nonexistent"), SINCE, delta=delta)

    def _append(self) -> None:
        pass


def histogram(
    name: str, series: Sequence[Labels], bounds: list[float], counts: list[float], total: float
) -> Family:
    """A histogram as the page shows it; each series has the same values."""
    samples: list[tuple[str, Labels, float]] = []
    for labels in series:
        for bound, below in zip((*bounds, math.inf), accumulate(counts), strict=True):
            samples.append((f"{name}_bucket", (*labels, ("le", format_bound(bound))), below))
        samples += [(f"{name}_count", labels, sum(counts)), (f"{name}_sum", labels, total)]
    return Family.of(name, "histogram", "help", samples)


@st.composite
def families(draw: st.DrawFn) -> list[Family]:
    """Families of all types, each name once."""
    found = {}
    for name in draw(st.lists(NAMES, min_size=1, max_size=5, unique=True)):
        series = draw(SERIES)
        kind = draw(st.sampled_from(["counter", "gauge", "histogram", "summary", "info"]))
        if kind == "histogram":
            bounds = draw(BOUNDS)
            size = len(bounds) + 1
            counts = draw(st.lists(COUNTS, min_size=size, max_size=size))
            found[name] = histogram(name, series, bounds, counts, draw(FINITE))
        elif kind == "summary":
            samples = [(name + part, labels, draw(COUNTS)) for labels in series
                       for part in ("_count", "_sum")]  # fmt: skip
            found[name] = Family.of(name, kind, "help", samples)
        else:
            values = COUNTS if kind == "counter" else st.floats()
            found[name] = family(name, kind, "help", [(each, draw(values)) for each in series])
    return list(found.values())


def on_page(some: Sequence[Family]) -> Samples:
    return {
        (name, labels): value
        for each in some
        for name, labels, value in zip(each.names, each.labels, each.values, strict=True)
    }


def encoded(bridge: Bridge, some: Sequence[Family], now: int) -> Iterator[tuple[Any, Any, str]]:
    """Metric, point and kind as they are on the wire."""
    for batch in bridge.batches(some, now):
        request = encode_metrics(batch.data)
        assert sum(1 for _ in points(request)) == len(batch.values) <= MAX_POINTS
        yield from points(request)


def points(request: Any) -> Iterator[tuple[Any, Any, str]]:
    for metric in request.resource_metrics[0].scope_metrics[0].metrics:
        kind = metric.WhichOneof("data")
        for point in getattr(metric, kind).data_points:
            yield metric, point, kind


def as_page(sent: Iterator[tuple[Any, Any, str]]) -> Samples:
    """What a Prometheus makes of it."""
    page: Samples = {}
    for metric, point, kind in sent:
        labels = tuple((each.key, each.value.string_value) for each in point.attributes)
        if kind == "histogram":
            bounds = (*point.explicit_bounds, math.inf)
            for bound, below in zip(bounds, accumulate(point.bucket_counts), strict=True):
                page[f"{metric.name}_bucket", (*labels, ("le", format_bound(bound)))] = below
            page[f"{metric.name}_count", labels] = point.count
            page[f"{metric.name}_sum", labels] = point.sum
        else:
            page[metric.name, labels] = point.as_double
    return page


def same(left: Samples, right: Samples) -> bool:
    return left.keys() == right.keys() and all(
        value == right[key] or (value != value and right[key] != right[key])
        for key, value in left.items()
    )


@settings(deadline=None)
@given(families())
def test_same_series_as_on_the_page(some: list[Family]) -> None:
    """Every sample of the page arrives with its name, labels and value, and nothing else does."""
    continuity = Memory()
    continuity.reads(FIRST)
    sent = list(encoded(Bridge(Resource({}), "1", continuity), some, FIRST))
    assert same(as_page(iter(sent)), on_page(some))
    assert not any(point.exemplars for _, point, kind in sent)
    for metric, point, kind in sent:
        assert point.time_unix_nano == FIRST
        if kind != "gauge":
            assert point.start_time_unix_nano == SINCE
            assert getattr(metric, kind).aggregation_temporality == CUMULATIVE
    kinds = {"counter": "sum", "histogram": "histogram"}
    assert {kind for _, _, kind in sent} == {kinds.get(each.type, "gauge") for each in some}


@settings(deadline=None)
@given(SERIES, st.lists(COUNTS, min_size=1, max_size=5))
def test_increments_add_up(series: list[Labels], steps: list[float]) -> None:
    """With delta, what was sent adds up to what was counted, each from where the last one ended."""
    continuity = Memory(delta=True)
    bridge = Bridge(Resource({}), "1", continuity)
    total, sent, ended = 0.0, dict.fromkeys(series, 0.0), SINCE
    for now, step in enumerate(steps, start=FIRST):
        total += step
        continuity.reads(now)
        for batch in bridge.batches(
            [family("a", "counter", "", [(s, total) for s in series])], now
        ):
            for _, point, _ in points(encode_metrics(batch.data)):
                labels = tuple((each.key, each.value.string_value) for each in point.attributes)
                sent[labels] += point.as_double
                assert (point.start_time_unix_nano, point.time_unix_nano) == (ended, now)
            continuity.sent(batch.values)
        ended = now
    assert set(sent.values()) == {total}


def test_failed_push_is_made_up_for(tmp_path: Path) -> None:
    """What did not arrive is in the next increments; a new exporter continues."""
    sent = []
    for value, now, arrives in ((5.0, FIRST, True), (7.0, SECOND, False), (9.0, THIRD, True)):
        continuity = Continuity(tmp_path, SINCE, delta=True)
        continuity.load()
        continuity.reads(now)
        some = [histogram("h", [()], [1.0], [value, 1.0], value * 2)]
        for batch in Bridge(Resource({}), "1", continuity).batches(some, now):
            if arrives:
                continuity.sent(batch.values)
                sent += list(points(encode_metrics(batch.data)))
        continuity.save()
    assert [list(point.bucket_counts) for _, point, _ in sent] == [[5, 1], [4, 0]]
    assert [point.sum for _, point, _ in sent] == [10.0, 8.0]
    assert [point.start_time_unix_nano for _, point, _ in sent] == [SINCE, FIRST]
    assert sent[0][0].histogram.aggregation_temporality == DELTA


def test_series_begin_when_they_were_not_there(tmp_path: Path) -> None:
    """A new series begins at the read before, for a new exporter too; one that fell begins anew."""
    page = {"old": 3.0}
    starts = []
    for now, changes in ((FIRST, {}), (SECOND, {"new": 1.0}), (THIRD, {"old": 1.0, "last": 1.0})):
        page |= changes
        continuity = Continuity(tmp_path, SINCE, delta=False)
        continuity.load()
        continuity.reads(now)
        some = [family("a", "counter", "", [((("k", key),), value) for key, value in page.items()])]
        bridge = Bridge(Resource({}), "1", continuity)
        starts.append([point.start_time_unix_nano for _, point, _ in encoded(bridge, some, now)])
        continuity.save()
    assert starts == [[SINCE], [SINCE, FIRST], [SINCE, FIRST, SECOND]]
    continuity.reads(THIRD + 1)
    (again,) = encoded(bridge, [family("a", "counter", "", [((("k", "old"),), 0.5)])], THIRD + 1)
    assert again[1].start_time_unix_nano == THIRD


@pytest.mark.parametrize("delta", [False, True])
def test_a_clock_that_was_set_back(tmp_path: Path, delta: bool, caplog: Any) -> None:
    """No sum starts after its own time, for a series that is known and for one that is new; the
    log says it once."""
    continuity = Continuity(tmp_path, 5_000, delta=delta)
    continuity.load()
    bridge = Bridge(Resource({}), "1", continuity)
    for now, names in ((9_000, ["a"]), (2_000, ["a", "b"]), (3_000, ["a", "b", "c"])):
        continuity.reads(now)
        some = [family("a", "counter", "", [((("k", name),), now / 1_000) for name in names])]
        for batch in bridge.batches(some, now):
            for metric in batch.data.resource_metrics[0].scope_metrics[0].metrics:
                for point in metric.data.data_points:
                    assert point.start_time_unix_nano <= point.time_unix_nano == now
            continuity.sent(batch.values)
    assert caplog.text.count("the clock was set back") == 1


@pytest.mark.parametrize(
    ("name", "kind", "metric", "unit"),
    [
        ("ivatar_requests", "counter", "ivatar_requests_total", ""),
        ("process_cpu_seconds", "counter", "process_cpu_seconds_total", "s"),
        ("process_resident_memory_bytes", "gauge", "process_resident_memory_bytes", "By"),
        ("seconds_left", "gauge", "seconds_left", ""),
        ("build", "info", "build_info", ""),
    ],
)
def test_names_and_units(name: str, kind: str, metric: str, unit: str) -> None:
    """The name is that of the page, and a unit stands only where the name ends in it."""
    ((sent, _, _),) = encoded(
        Bridge(Resource({}), "1", Memory()), [family(name, kind, "what it is", [((), 1.0)])], FIRST
    )
    assert (sent.name, sent.unit, sent.description) == (metric, unit, "what it is")


def test_resource_is_not_a_metric() -> None:
    """target_info is what a Prometheus makes of the resource itself."""
    target = family("target", "info", "", [((("service_name", "ivatar"),), 1.0)])
    bridge = Bridge(Resource({"service.name": "ivatar"}), "1", Memory())
    assert not list(bridge.batches([target], FIRST))
    (batch,) = bridge.batches([family("a", "gauge", "", [((), 1.0)])], FIRST)
    assert batch.data.resource_metrics[0].resource.attributes["service.name"] == "ivatar"


def test_what_is_no_count_is_left_out() -> None:
    """A foreign series that no sum can hold does not keep the others from being sent."""
    broken = histogram("h", [()], [1.0], [math.nan, 1.0], 1.0)
    odd = Family.of("x", "histogram", "", [("x_sum", (), 1.0), ("x_other", (), 2.0)])
    counter = family("a", "counter", "", [((), math.inf), ((("k", "v"),), 1.0)])
    sent = encoded(Bridge(Resource({}), "1", Memory()), [broken, odd, counter], FIRST)
    assert as_page(sent) == {("a_total", (("k", "v"),)): 1.0}


def test_scopes() -> None:
    """Labels of a scope become the scope: as attributes a collector's exporter drops them."""
    of_lib = (("a", "x"), ("otel_scope_name", "lib"), ("otel_scope_version", "1"))
    some = [
        family("calls", "counter", "help", [((), 1.0), (of_lib, 2.0), (of_lib[1:2], 3.0)]),
        histogram("sizes", [of_lib], [], [4.0], 5.0),
    ]
    continuity = Memory()
    continuity.reads(FIRST)
    (batch,) = Bridge(Resource({}), "9", continuity).batches(some, FIRST)
    request = encode_metrics(batch.data)
    found = {
        (each.scope.name, each.scope.version): [
            (metric.name, [(pair.key, pair.value.string_value) for pair in point.attributes])
            for metric in each.metrics
            for point in getattr(metric, metric.WhichOneof("data")).data_points
        ]
        for each in request.resource_metrics[0].scope_metrics
    }
    assert found == {
        ("avatar_telemetry", "9"): [("calls_total", [])],
        ("lib", "1"): [("calls_total", [("a", "x")]), ("sizes", [("a", "x")])],
        ("lib", ""): [("calls_total", [])],
    }
    assert len(batch.values) == 4


TRACE = (("n", "1"), ("span_id", "00000000000000ab"), ("trace_id", "0" * 31 + "c"))
SECONDS = 1_000_000_000


def with_exemplars(time: float) -> list[Family]:
    """A histogram and a counter, each of whose samples has an exemplar of a time."""
    buckets = [("h_bucket", (("le", bound),), 1.0) for bound in ("0.5", "1.0", "+Inf")]
    exemplars = {0: Exemplar(TRACE, 0.25, time), 2: Exemplar((("user", "anna"),), 7.0, time)}
    return [
        Family.of("h", "histogram", "", [*buckets, ("h_count", (), 1.0), ("h_sum", (), 0.25)],
                  exemplars),
        Family.of("c", "counter", "", [("c_total", (), 1.0), ("c_total", (("k", "v"),), 1.0)],
                  {1: Exemplar(TRACE[1:], 1.0, time), 0: Exemplar(TRACE, 1.0, None)}),
    ]  # fmt: skip


def test_exemplars() -> None:
    """A trace has its ids, other labels are attributes; a sample without one has none."""
    continuity = Memory()
    bridge = Bridge(Resource({}), "1", continuity)
    sent = list(encoded(bridge, with_exemplars(3.5), 4 * SECONDS))
    found = {
        (metric.name, tuple(each.key for each in point.attributes)): [
            (
                each.as_double, each.time_unix_nano, each.trace_id.hex(), each.span_id.hex(),
                {pair.key: pair.value.string_value for pair in each.filtered_attributes},
            )
            for each in point.exemplars
        ]
        for metric, point, _ in sent
    }  # fmt: skip
    ids = "0" * 31 + "c", "00000000000000ab"
    assert found == {
        ("h", ()): [
            (0.25, 3_500_000_000, *ids, {"n": "1"}),
            (7.0, 3_500_000_000, "", "", {"user": "anna"}),
        ],
        ("c_total", ("k",)): [(1.0, 3_500_000_000, *ids, {})],
        ("c_total", ()): [],
    }


@pytest.mark.parametrize("delta", [False, True])
def test_exemplars_outside_of_the_interval(delta: bool) -> None:
    """Of increments only exemplars since the last push are sent, of totals all; none of later."""
    continuity = Memory(delta=delta)
    bridge = Bridge(Resource({}), "1", continuity)
    numbers = []
    for now in (3, 4, 5):
        continuity.reads(now * SECONDS)
        batches = list(bridge.batches(with_exemplars(3.5), now * SECONDS))
        for batch in batches:
            continuity.sent(batch.values)
        sent = [point for batch in batches for _, point, _ in points(encode_metrics(batch.data))]
        numbers.append(sum(len(point.exemplars) for point in sent))
    assert numbers == [0, 3, 0 if delta else 3]
