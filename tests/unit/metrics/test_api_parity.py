"""The store against the SDK: the same measurements make the same sums, buckets and last values."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Gauge, Histogram, InMemoryMetricReader, Sum

from avatar_telemetry.metrics.api_names import label_values
from tests.support.api_store import ApiStore, Samples, observing

FORK = multiprocessing.get_context("fork")
BOUNDS = (-2.0, 0.0, 0.5, 3.0)
KINDS = ("counter", "updown", "gauge", "default histogram", "histogram")
# No two of them have the same text, and sums of quarters are exact.
ATTRIBUTES = st.dictionaries(
    st.sampled_from(["a", "b.c"]), st.sampled_from(["x", 1, True, 2.5, ("p", 1)])
)
AMOUNTS = st.integers(-4000, 48_000).map(lambda quarters: quarters / 4)
MEASUREMENTS = st.lists(
    st.tuples(st.sampled_from(KINDS), AMOUNTS | st.just(float("nan")), ATTRIBUTES)
)


def record(meter: Meter, measurements: list[tuple[str, float, dict[str, Any]]]) -> None:
    write = {
        "counter": meter.create_counter("counter").add,
        "updown": meter.create_up_down_counter("updown").add,
        "gauge": meter.create_gauge("gauge").set,
        "default histogram": meter.create_histogram("default").record,
        "histogram": meter.create_histogram(
            "advised", explicit_bucket_boundaries_advisory=BOUNDS
        ).record,
    }
    for kind, amount, attributes in measurements:
        write[kind](amount, attributes)


def samples_of_sdk(reader: InMemoryMetricReader) -> Samples:
    """The data of the SDK, as samples of the page."""
    data = reader.get_metrics_data()
    samples: Samples = defaultdict(float)
    for metric in data.resource_metrics[0].scope_metrics[0].metrics if data else ():
        for point in metric.data.data_points:
            own = {**label_values(point.attributes or {}), "otel_scope_name": "mine"}
            labels = frozenset(own.items())
            if isinstance(metric.data, Gauge):
                samples[metric.name, labels] = point.value  # type: ignore[union-attr]
            elif isinstance(metric.data, Sum):
                suffix = "_total" if metric.data.is_monotonic else ""
                samples[metric.name + suffix, labels] += point.value  # type: ignore[union-attr]
            elif isinstance(metric.data, Histogram):
                total = 0
                bounds = [*map(str, point.explicit_bounds), "+Inf"]  # type: ignore[union-attr]
                for bound, number in zip(bounds, point.bucket_counts, strict=True):  # type: ignore[union-attr]
                    total += number
                    at_bound = labels | {("le", bound)}
                    samples[f"{metric.name}_bucket", at_bound] += total
                samples[f"{metric.name}_sum", labels] += point.sum  # type: ignore[union-attr]
                samples[f"{metric.name}_count", labels] += point.count  # type: ignore[union-attr]
    return dict(samples)


@given(measurements=MEASUREMENTS)
def test_like_the_sdk(measurements: list[tuple[str, float, dict[str, Any]]]) -> None:
    """Any measurements, wrong ones among them, make the sums, buckets and values of the SDK."""
    reader = InMemoryMetricReader()
    record(MeterProvider([reader], shutdown_on_exit=False).get_meter("mine"), measurements)
    with TemporaryDirectory() as folder:
        store = ApiStore(Path(folder))
        record(store.meter, measurements)
        samples = store.samples()
        store.close()
    assert samples == samples_of_sdk(reader)


@given(
    rounds=st.lists(
        st.dictionaries(st.sampled_from("abc"), st.integers(0, 50), min_size=1), min_size=1
    )
)
def test_observed_like_the_sdk(rounds: list[dict[str, float]]) -> None:
    """The last values of callbacks are those of the SDK."""
    reader = InMemoryMetricReader()
    sdk = MeterProvider([reader], shutdown_on_exit=False).get_meter("mine")
    with TemporaryDirectory() as folder:
        store = ApiStore(Path(folder))
        now: dict[str, float] = {}
        made = [
            (
                meter.create_observable_gauge("gauge", [observing(now)]),
                meter.create_observable_up_down_counter("updown", [observing(now)]),
            )
            for meter in (sdk, store.meter)
        ][1]
        for values in rounds:
            now.clear()
            now.update(values)
            for instrument in made:
                store.observe(instrument)
        expected = samples_of_sdk(reader)
        samples = store.samples()
        store.close()
    gone = samples.keys() - expected.keys()
    assert {key: samples[key] for key in expected} == expected
    assert all(samples[key] == 0 for key in gone if key[0] == "updown")
    assert all(samples[key] != samples[key] for key in gone if key[0] == "gauge")


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=30))
def test_observed_counter_never_goes_back(steps: list[tuple[bool, int]]) -> None:
    """Over changes of the observer, a total of the host is counted exactly, once."""
    with TemporaryDirectory() as folder:
        store = ApiStore(Path(folder))
        total = {"": 0.0}
        observers = [store]
        current = store.meter.create_observable_counter("c", [observing(total)])
        for changes, growth in steps:
            if changes:
                observers.append(store.other(f"s{len(observers)}"))
                current = observers[-1].meter.create_observable_counter("c", [observing(total)])
            total[""] += growth
            observers[-1].observe(current)
            assert store.value("c_total") == total[""]
        for each in observers:
            each.close()


def work(folder: Path, slot: str, writing: Any) -> None:
    """Record as a worker does, until killed."""
    store = ApiStore(folder, slot)
    counter = store.meter.create_counter("c")
    for _ in range(1000):
        counter.add(1, {"a": "x"})
    store.meter.create_up_down_counter("u").add(1)
    store.meter.create_histogram("h").record(7)
    writing.send(slot)
    signal.pause()


def test_killed_worker(tmp_path: Path) -> None:
    """Two workers add up; a killed one keeps its counts, and its successor goes on with them."""

    def start(slot: str) -> Any:
        reading, writing = FORK.Pipe(duplex=False)
        process = FORK.Process(target=work, args=(tmp_path, slot, writing))
        process.start()
        writing.close()
        assert reading.recv() == slot
        return process

    processes = [start("s1"), start("s2")]
    page = ApiStore(tmp_path, "s0")
    page.slots += ["s1", "s2"]
    try:
        assert (page.value("c_total", a="x"), page.value("u"), page.value("h_sum")) == (2000, 2, 14)
        os.kill(processes[0].pid, signal.SIGKILL)
        processes[0].join()
        page.slots.remove("s1")
        assert (page.value("c_total", a="x"), page.value("u"), page.value("h_sum")) == (2000, 1, 14)
        processes.append(start("s1"))
        assert (page.value("c_total", a="x"), page.value("h_sum")) == (3000, 21)
    finally:
        for process in processes:
            process.kill()
            process.join()
        page.close()
