"""Instruments of the OpenTelemetry API in the mapped store."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.metrics import Meter

from avatar_telemetry.metrics import api_meters, api_series
from avatar_telemetry.metrics.api_meters import DEFAULT_BOUNDS, StoredMeter
from tests.support.api_store import ApiStore
from tests.support.forked import in_child
from tests.support.waiting import DEADLINE

WHOSE = """
import os, sys
from pathlib import Path
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from avatar_telemetry import Settings
from avatar_telemetry._base.guard import Guard
from avatar_telemetry.metrics.api_meters import start_meters
from avatar_telemetry.metrics.mapped import Book
if sys.argv[1] == "sdk":
    metrics.set_meter_provider(MeterProvider(shutdown_on_exit=False))
elif sys.argv[1] == "nothing":
    metrics.set_meter_provider(metrics.NoOpMeterProvider())
book = Book()
ours = start_meters(book, Guard(), Settings.from_env({}), Path("."))
again = start_meters(book, Guard(), Settings.from_env({}), Path("."))
print(metrics.get_meter_provider() is ours, again is ours)
"""
EARLY = """
import sys
from pathlib import Path
from opentelemetry import metrics
early = metrics.get_meter("mine", "1.0").create_counter("my.calls")
from avatar_telemetry import Settings
from avatar_telemetry._base.guard import Guard
from avatar_telemetry.metrics.api_meters import start_meters
from avatar_telemetry.metrics.mapped import Book
book = Book()
folder = Path(sys.argv[1])
book.open(folder, "s0")
start_meters(book, Guard(), Settings.from_env({}), folder)
early.add(2)
print(any(name.startswith("opentelemetry.sdk") for name in sys.modules))
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ApiStore]:
    store = ApiStore(tmp_path)
    yield store
    store.close()
    assert not store.failures


def run(script: str, *arguments: str) -> str:
    """The output of a process of its own, which must have no error output."""
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def count_twice(meter: Meter) -> None:
    counter = meter.create_counter("my.calls", "{call}", "Calls.")
    counter.add(2)
    counter.add(0.5)


def move(meter: Meter) -> None:
    jobs = meter.create_up_down_counter("my.jobs")
    jobs.add(5)
    jobs.add(-7)


def set_twice(meter: Meter) -> None:
    load = meter.create_gauge("my.load", "1")
    load.set(0.75)
    load.set(-0.5)


@pytest.mark.parametrize(
    ("use", "family", "type_", "sample", "value"),
    [
        pytest.param(count_twice, "my_calls", "counter", "my_calls_total", 2.5, id="counter"),
        pytest.param(move, "my_jobs", "gauge", "my_jobs", -2, id="up-down counter"),
        pytest.param(set_twice, "my_load_ratio", "gauge", "my_load_ratio", -0.5, id="gauge"),
    ],
)
def test_kinds(
    store: ApiStore, use: Callable[[Meter], None], family: str, type_: str, sample: str,
    value: float,
) -> None:  # fmt: skip
    """Each kind of instrument is a family of its type with the labels of its scope."""
    use(store.meter)
    assert store.families()[family].type == type_
    assert store.value(sample) == value


def test_buckets_of_a_histogram(store: ApiStore) -> None:
    """A histogram has the boundaries that are advised; a bound belongs to its bucket."""
    histogram = store.meter.create_histogram(
        "my.time", "s", "Time.", explicit_bucket_boundaries_advisory=[1, 2.5]
    )
    for amount in (0.5, 1, 2, 100):
        histogram.record(amount, {"a": "x"})
    assert store.families()["my_time_seconds"].documentation == "Time."
    buckets = [store.value("my_time_seconds_bucket", a="x", le=le) for le in ("1.0", "2.5", "+Inf")]
    assert buckets == [2, 3, 4]
    assert store.value("my_time_seconds_sum", a="x") == 103.5
    assert store.value("my_time_seconds_count", a="x") == 4


@pytest.mark.parametrize(
    ("advised", "expected"),
    [
        pytest.param(None, DEFAULT_BOUNDS, id="none"),
        pytest.param([], (), id="empty"),
        pytest.param([1, float("inf")], (1.0,), id="infinity"),
        pytest.param([2, 1], DEFAULT_BOUNDS, id="descending"),
        pytest.param([1, 1], DEFAULT_BOUNDS, id="twice"),
        pytest.param([float("nan")], DEFAULT_BOUNDS, id="no number"),
        pytest.param(["x"], DEFAULT_BOUNDS, id="a word"),
        pytest.param(5, DEFAULT_BOUNDS, id="no sequence"),
    ],
)
def test_boundaries(
    store: ApiStore, caplog: pytest.LogCaptureFixture, advised: Any, expected: tuple[float, ...]
) -> None:
    """Boundaries that cannot be used are replaced by the default, with a warning."""
    histogram = store.meter.create_histogram("h", explicit_bucket_boundaries_advisory=advised)
    histogram.record(1)
    bounds = {dict(labels)["le"] for name, labels in store.samples() if name.endswith("_bucket")}
    assert bounds == {*map(str, expected), "+Inf"}
    is_refused = advised is not None and expected == DEFAULT_BOUNDS
    assert ("boundaries" in caplog.text) == is_refused


def test_attribute_named_like_a_bucket(store: ApiStore) -> None:
    """An attribute ``le`` of a histogram does not become its bound."""
    store.meter.create_histogram("h").record(1, {"le": "x"})
    assert store.value("h_count", exported_le="x") == 1


def test_scope(store: ApiStore) -> None:
    """Name, version and attributes of the scope are labels, and win over attributes."""
    meter = store.provider.get_meter("lib", "1.2", attributes={"team": "red"})
    meter.create_counter("c").add(1, {"otel.scope.name": "other"})
    labels = {"otel_scope_version": "1.2", "otel_scope_team": "red"}
    assert store.value("c_total", scope="lib", **labels) == 1


def test_attributes_of_other_types(store: ApiStore) -> None:
    """Attributes that compare equal and are not the same have series of their own."""
    counter = store.meter.create_counter("c")
    for _ in range(2):
        for value in (1, True, 1.0, "1 "):
            counter.add(1, {"a": value})
    assert [store.value("c_total", a=text) for text in ("1", "true", "1.0", "1 ")] == [2] * 4


def test_order_of_attributes(store: ApiStore) -> None:
    """The order of attributes means nothing, and neither does what happens to them later."""
    counter = store.meter.create_counter("c")
    attributes: dict[str, Any] = {"a": "1", "b": ["2"]}
    counter.add(1, attributes)
    counter.add(1, {"b": ["2"], "a": "1"})
    attributes["b"].append("3")
    counter.add(1, attributes)
    assert store.value("c_total", a="1", b='["2"]') == 2
    assert store.value("c_total", a="1", b='["2","3"]') == 1


def test_processes_are_merged(store: ApiStore) -> None:
    """Counters and histograms add up, gauges are the newest."""
    other = store.other("s1")
    for number, each in enumerate((store, other, store), 1):
        each.meter.create_counter("c").add(number)
        each.meter.create_histogram("h").record(number)
        each.meter.create_up_down_counter("u").add(number)
        each.meter.create_gauge("g").set(number)
    assert [store.value(name) for name in ("c_total", "h_sum", "h_count", "u", "g")] == [
        6, 6, 3, 6, 3,
    ]  # fmt: skip
    store.slots.remove("s1")
    assert store.value("u") == 4, "an up-down counter is of the living alone"
    assert store.value("c_total") == 6
    other.close()


def test_threads(store: ApiStore) -> None:
    """Threads that begin at once lose no measurement."""
    barrier = threading.Barrier(4)

    def work() -> None:
        barrier.wait()
        counter = store.provider.get_meter("mine").create_counter("c")
        for number in range(500):
            counter.add(1, {"a": number % 50})

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {store.value("c_total", a=str(number)) for number in range(50)} == {40}


def test_files_that_were_removed(store: ApiStore) -> None:
    """Values go on in new files, the timestamps of gauges included."""
    counter, gauge = store.meter.create_counter("c"), store.meter.create_gauge("g")
    counter.add(1)
    gauge.set(1)
    for path in store.folder.glob("*.db"):
        path.unlink()
    store.book.move(store.folder, "s0")
    counter.add(1)
    assert (store.value("c_total"), store.value("g")) == (2, 1)


def test_child_has_cells_of_its_own(store: ApiStore) -> None:
    """A forked child counts into its own slot from zero; the parent's values stay."""
    counter = store.meter.create_counter("c")
    counter.add(1)

    def work() -> None:
        store.book.renew_lock()
        store.book.detach()
        store.provider.forget()
        store.book.on_next_use(lambda: store.book.open(store.folder, "s1"))
        counter.add(2)

    in_child(work)
    store.slots.append("s1")
    assert store.value("c_total") == 3
    counter.add(4)
    assert store.value("c_total") == 7


def test_successor_counts_on(store: ApiStore) -> None:
    """The next holder of a slot goes on with its counters."""
    store.meter.create_counter("c").add(1)
    store.book.detach()
    successor = ApiStore(store.folder)
    successor.meter.create_counter("c").add(1)
    assert successor.value("c_total") == 2
    successor.close()


@pytest.mark.parametrize(
    "amount",
    [
        pytest.param(-1, id="negative"),
        pytest.param(float("nan"), id="no number"),
        pytest.param(float("inf"), id="infinite"),
        pytest.param("1", id="text"),
        pytest.param(None, id="none"),
        pytest.param(10**400, id="too large"),
        pytest.param(1j, id="complex"),
        pytest.param(Decimal("sNaN"), id="signalling"),
    ],
)
def test_bad_amounts(store: ApiStore, caplog: pytest.LogCaptureFixture, amount: Any) -> None:
    """An amount that cannot be recorded raises nothing and is one warning."""
    counter, histogram = store.meter.create_counter("c"), store.meter.create_histogram("h")
    for _ in range(2):
        counter.add(amount)
        histogram.record(amount)
    counter.add(Decimal("1.5"))
    assert store.value("c_total") == 1.5
    assert store.value("h_count") is None
    assert len(caplog.records) == 2


def test_bad_attributes(store: ApiStore, caplog: pytest.LogCaptureFixture) -> None:
    """Attributes that are no mapping are left out, not the measurement."""
    attributes: Any = ["a", "b"]
    counter = store.meter.create_counter("c")
    for _ in range(2):
        counter.add(1, attributes)
    assert store.value("c_total") == 2
    assert len(caplog.records) == 1


def test_attributes_that_raise(tmp_path: Path) -> None:
    """An attribute whose text fails costs the measurement, counted; the application goes on."""

    class Bad:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    store = ApiStore(tmp_path)
    attributes: Any = {"a": Bad()}
    store.meter.create_counter("c").add(1, attributes)
    assert store.failures == ["meters"]
    store.close()


@pytest.mark.parametrize(
    ("name", "unit"),
    [("", ""), ("1a", ""), ("a b", ""), ("a" * 256, ""), ("ä", ""), ("a", "x" * 64), ("a", "°")],
)
def test_bad_names(store: ApiStore, caplog: pytest.LogCaptureFixture, name: str, unit: str) -> None:
    """An instrument whose name or unit the API forbids records nothing, with a warning."""
    store.meter.create_counter(name, unit).add(1)
    assert not store.samples()
    assert "the OpenTelemetry API does not allow its name or unit" in caplog.text


@pytest.mark.parametrize("name", [None, 5])
def test_names_that_are_no_text(tmp_path: Path, name: Any) -> None:
    """A value that the API's types forbid is a counted failure, not an exception."""
    store = ApiStore(tmp_path)
    store.meter.create_counter(name).add(1)
    store.meter.create_observable_gauge(name)
    assert store.failures
    store.close()


CREATE: dict[str, Callable[[Meter, str], Any]] = {
    "counter": lambda meter, name: meter.create_counter(name).add(1),
    "updown": lambda meter, name: meter.create_up_down_counter(name).add(1),
    "histogram": lambda meter, name: meter.create_histogram(name).record(1),
    "gauge": lambda meter, name: meter.create_gauge(name).set(1),
    "observed counter": lambda meter, name: meter.create_observable_counter(name),
    "observed updown": lambda meter, name: meter.create_observable_up_down_counter(name),
    "observed gauge": lambda meter, name: meter.create_observable_gauge(name),
}


@pytest.mark.parametrize("second", CREATE)
def test_own_names_are_refused(
    store: ApiStore, caplog: pytest.LogCaptureFixture, second: str
) -> None:
    """No instrument of the API writes into a metric of this package."""
    CREATE[second](store.meter, "ivatar.requests")
    CREATE[second](store.meter, "target.info")
    assert not store.samples()
    assert [each.getMessage() for each in caplog.records] == [
        "metric ivatar_requests is not recorded: avatar_telemetry has a metric of this name",
        "metric target_info is not recorded: avatar_telemetry has a metric of this name",
    ]


def test_name_of_an_own_sample(store: ApiStore) -> None:
    """Nor does it have the name of a sample of this package."""
    CREATE["gauge"](store.meter, "ivatar.requests.total")
    assert not store.samples()


@pytest.mark.parametrize("scope", ["mine", "other"])
@pytest.mark.parametrize("second", ["updown", "histogram", "gauge", "observed gauge"])
def test_another_kind(
    store: ApiStore, caplog: pytest.LogCaptureFixture, second: str, scope: str
) -> None:
    """Of two instruments of one name and several kinds the first stands, with one warning."""
    store.meter.create_counter("my.name").add(1)
    for _ in range(2):
        CREATE[second](store.provider.get_meter(scope), "MY.name" if scope == "mine" else "my.name")
    assert store.families()["my_name"].type == "counter"
    assert store.value("my_name_total") == 1
    if second != "histogram":
        assert len(store.samples()) == 1
    assert ["another kind" in each.getMessage() for each in caplog.records] == [True]


def test_two_gauges_of_one_name(store: ApiStore) -> None:
    """A gauge that is set and one that is observed do not share a scope's name."""
    store.meter.create_gauge("g").set(1)
    observed = store.meter.create_observable_gauge("g", [lambda options: []])
    assert not hasattr(observed, "observe")


def test_another_description(store: ApiStore, caplog: pytest.LogCaptureFixture) -> None:
    """A second description is left out, its measurements are not."""
    store.meter.create_counter("c", description="One.").add(1)
    store.meter.create_counter("C", description="Two.").add(1)
    store.provider.get_meter("other").create_counter("c", description="Three.").add(1)
    assert store.families()["c"].documentation == "One."
    assert (store.value("c_total"), store.value("c_total", scope="other")) == (2, 1)
    assert caplog.text.count("created again") == 2


def test_another_unit(store: ApiStore, caplog: pytest.LogCaptureFixture) -> None:
    """With another unit it is another metric: amounts of both are not added up."""
    store.meter.create_counter("c", "s").add(1)
    store.meter.create_counter("c", "ms").add(1000)
    assert store.value("c_seconds_total") == 1
    assert store.value("c_milliseconds_total") == 1000
    assert caplog.text.count("created again") == 1


def test_other_buckets(store: ApiStore, caplog: pytest.LogCaptureFixture) -> None:
    """All series of a histogram have the buckets of its first declaration."""
    for scope, bound in (("mine", 1), ("other", 2)):
        meter = store.provider.get_meter(scope)
        meter.create_histogram("h", explicit_bucket_boundaries_advisory=[bound]).record(1)
    assert store.value("h_bucket", le="1.0", scope="other") == 1
    assert caplog.text.count("created again") == 1


def test_same_instrument_again(store: ApiStore, caplog: pytest.LogCaptureFixture) -> None:
    """An instrument that is created for each use is one instrument."""
    made = {id(store.meter.create_histogram("h", "s", "D")) for _ in range(3)}
    assert len(made) == 1
    assert store.provider.get_meter("mine") is store.meter
    assert not caplog.records


def test_limit_of_attribute_sets(
    store: ApiStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the limit, sets are recorded together; those of before go on; it is one warning."""
    monkeypatch.setattr(api_series, "MAX_SERIES", 10)
    counter = store.meter.create_counter("c")
    for _ in range(2):
        for number in range(30):
            counter.add(1, {"a": number})
    assert store.value("c_total", a="8") == 2
    assert store.value("c_total", a="9") is None
    assert store.value("c_total", otel_metric_overflow="true") == 2 * 21
    assert len(store.samples()) == 10
    assert len(caplog.records) == 1


def test_limit_of_meters(
    store: ApiStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the limit, scopes are recorded together; those before continue; it is one warning."""
    monkeypatch.setattr(api_meters, "MAX_SCOPES", 10)  # one of them is the meter of the store
    for _ in range(2):
        for number in range(30):
            meter = store.provider.get_meter(f"scope-{number}", attributes={"client": number})
            meter.create_counter("c").add(1, {"a": "b"})
    values = {dict(labels).get("otel_scope_name"): value for (_, labels), value in
              store.samples().items()}  # fmt: skip
    assert values == {f"scope-{number}": 2 for number in range(9)} | {None: 2 * 21}
    assert store.samples()[
        "c_total", frozenset({("a", "b"), ("otel_metric_overflow", "true")})
    ] == 2 * 21  # fmt: skip
    assert len(store.provider._meters) == 11
    assert len(caplog.records) == 1


def test_limit_over_successors(store: ApiStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sets of a slot's earlier holders count, so that recycling does not fill the folder."""
    monkeypatch.setattr(api_series, "MAX_SERIES", 10)
    for life in range(3):
        store.book.detach()
        successor = ApiStore(store.folder)
        counter = successor.meter.create_histogram("h")
        for number in range(6):
            counter.record(1, {"a": f"{life}-{number}"})
            counter.record(1, {"a": "always"})
        assert successor.value("h_count", a="always") == 6 * (life + 1)
        successor.close()
    counts = [name for name, _ in store.samples() if name == "h_count"]
    assert len(counts) == 10


def test_flush_and_shutdown(store: ApiStore) -> None:
    """An application may end the provider as it would the SDK's; nothing is lost."""
    store.meter.create_counter("c").add(1)
    assert store.provider.force_flush()
    store.provider.shutdown()
    store.meter.create_counter("c").add(1)
    assert store.value("c_total") == 2


@pytest.mark.parametrize(
    ("already", "expected"),
    [("none", "True True"), ("sdk", "False False"), ("nothing", "False False")],
)
def test_application_that_has_its_own(already: str, expected: str) -> None:
    """The global provider becomes ours, once, and only where the application has set none."""
    assert run(WHOSE, already) == expected


def test_instrument_made_before_the_start(tmp_path: Path) -> None:
    """An instrument that was made before the worker started records; nothing of the SDK is
    imported."""
    assert run(EARLY, str(tmp_path)) == "False"
    store = ApiStore(tmp_path, "s1")
    store.slots.append("s0")
    assert store.value("my_calls_total", otel_scope_version="1.0") == 2
    store.close()


def test_all_kinds_of_the_api() -> None:
    """A kind of instrument that a new release of the API brings is noticed here."""
    created = {name for name in vars(Meter) if name.startswith("create_")}
    assert created == {name for name in vars(StoredMeter) if name.startswith("create_")}
