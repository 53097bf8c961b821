"""Observable instruments: who asks their callbacks, and what becomes of the answers."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from math import isnan
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.metrics import CallbackOptions, Observation

from avatar_telemetry._base.files import lock_own
from avatar_telemetry.metrics.api_observers import LOCK_NAME
from tests.support.api_store import ApiStore, observing
from tests.support.descriptors import open_below
from tests.support.forked import in_child
from tests.support.waiting import eventually

INTERVAL = 0.02


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ApiStore]:
    store = ApiStore(tmp_path)
    yield store
    store.close()
    assert not store.failures


def observers() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "avatar-telemetry-observer"]


@pytest.mark.parametrize(
    ("create", "type_", "sample"),
    [
        ("create_observable_counter", "counter", "x_total"),
        ("create_observable_up_down_counter", "gauge", "x"),
        ("create_observable_gauge", "gauge", "x"),
    ],
)
def test_kinds(store: ApiStore, create: str, type_: str, sample: str) -> None:
    """Each kind is a family of its type with the value that was reported last."""
    values = {"": 3.0, "a": 1.0}
    instrument = getattr(store.meter, create)("x", [observing(values)])
    store.observe(instrument)
    values |= {"": 5.0}
    store.observe(instrument)
    assert store.families()["x"].type == type_
    assert (store.value(sample), store.value(sample, of="a")) == (5, 1)


def test_sums_and_gauges_of_equal_attributes(store: ApiStore) -> None:
    """Reports of one attribute set are added where they are sums; of gauges the last stands."""
    callbacks = [observing({"a": 1.0}), observing({"a": 2.0})]
    for create, sample in (
        ("create_observable_counter", "c_total"),
        ("create_observable_up_down_counter", "u"),
        ("create_observable_gauge", "g"),
    ):
        store.observe(getattr(store.meter, create)(sample[0], callbacks))
    assert [store.value(name, of="a") for name in ("c_total", "u", "g")] == [3, 3, 2]


def test_total_that_begins_anew(store: ApiStore) -> None:
    """A total that is smaller than before counts from zero again; the counter never goes back."""
    values = {"": 10.0}
    instrument = store.meter.create_observable_counter("c", [observing(values)])
    seen = []
    for total in (10.0, 12.0, 3.0, 4.0):
        values[""] = total
        store.observe(instrument)
        seen.append(store.value("c_total"))
    assert seen == [10, 12, 15, 16]


@pytest.mark.parametrize(
    ("totals", "expected"),
    [
        pytest.param((12.0, 13.0), [12, 13], id="one total of the host"),
        pytest.param((10.0, 11.0), [10, 11], id="unchanged"),
        pytest.param((2.0, 5.0), [10, 13], id="a total of each process"),
        pytest.param((2.0, 1.0), [10, 11], id="that begins anew"),
    ],
)
def test_counter_over_processes(
    store: ApiStore, totals: tuple[float, float], expected: list[float]
) -> None:
    """Where another process goes on, a counter neither goes back nor counts twice."""
    store.observe(store.meter.create_observable_counter("c", [observing({"": 10.0})]))
    other = store.other("s1")
    values = {"": 0.0}
    instrument = other.meter.create_observable_counter("c", [observing(values)])
    seen = []
    for total in totals:
        values[""] = total
        other.observe(instrument)
        seen.append(store.value("c_total"))
    other.close()
    assert seen == expected


def test_counter_that_comes_back(store: ApiStore) -> None:
    """A process that observes again after another one knows how far that one has counted."""
    values = {"": 10.0}
    mine = store.meter.create_observable_counter("c", [observing(values)])
    store.observe(mine)
    other = store.other("s1")
    values[""] = 20.0
    other.observe(other.meter.create_observable_counter("c", [observing(values)]))
    store.take_over(mine)
    values[""] = 21.0
    store.observe(mine)
    assert store.value("c_total") == 21
    other.close()


def test_what_is_reported_no_longer(store: ApiStore) -> None:
    """A gauge has no value then, an up-down counter is zero, a counter keeps its total."""
    values = {"a": 1.0, "b": 2.0}
    made = [
        store.meter.create_observable_gauge("g", [observing(values)]),
        store.meter.create_observable_up_down_counter("u", [observing(values)]),
        store.meter.create_observable_counter("c", [observing(values)]),
    ]
    for instrument in made:
        store.observe(instrument)
    del values["a"]
    for instrument in made:
        store.observe(instrument)
    gone = store.value("g", of="a")
    assert gone is not None
    assert isnan(gone)
    assert (store.value("u", of="a"), store.value("c_total", of="a")) == (0, 1)
    assert [store.value(name, of="b") for name in ("g", "u", "c_total")] == [2, 2, 2]
    values["a"] = 3.0
    for instrument in made:
        store.observe(instrument)
    assert [store.value(name, of="a") for name in ("g", "u", "c_total")] == [3, 3, 3]


def test_what_only_a_dead_process_reported(store: ApiStore) -> None:
    """A value that only the last observer reported is removed; another scope's stays."""
    for scope in ("mine", "other"):
        meter = store.provider.get_meter(scope)
        store.observe(meter.create_observable_up_down_counter("u", [observing({"a": 1.0})]))
    successor = store.other("s1")
    instrument = successor.meter.create_observable_up_down_counter("u", [observing({"b": 1.0})])
    successor.observe(instrument)
    assert (store.value("u", of="a"), store.value("u", of="b")) == (0, 1)
    assert store.value("u", scope="other", of="a") == 1
    successor.close()


def test_callback_that_fails(store: ApiStore, caplog: pytest.LogCaptureFixture) -> None:
    """A callback that raises is one warning; others are asked, and what it reported stays."""
    is_broken = False

    def callback(options: CallbackOptions) -> Iterator[Observation]:
        yield Observation(1, {"of": "a"})
        if is_broken:
            raise RuntimeError("queue is closed")
        yield Observation(1, {"of": "b"})

    instrument = store.meter.create_observable_gauge("g", [callback, observing({"c": 1.0})])
    store.observe(instrument)
    is_broken = True
    for _ in range(2):
        store.observe(instrument)
    assert [store.value("g", of=of) for of in "abc"] == [1, 1, 1]
    assert caplog.text.count("metric g: a callback failed") == 1
    assert "queue is closed" in caplog.text


@pytest.mark.parametrize("answer", [None, [], (), "none"])
def test_callback_without_observations(store: ApiStore, answer: Any) -> None:
    """A callback that reports nothing, or something else, does no harm."""
    instrument = store.meter.create_observable_gauge("g", [lambda options: answer])
    store.observe(instrument)
    assert not store.samples()


def test_observations_that_are_no_numbers(
    store: ApiStore, caplog: pytest.LogCaptureFixture
) -> None:
    """A value that cannot be recorded is left out; a negative one of a counter, too."""
    values: dict[str, Any] = {"a": float("nan"), "b": "x", "c": -1, "d": 1}
    store.observe(store.meter.create_observable_gauge("g", [observing(values)]))
    store.observe(store.meter.create_observable_counter("c", [observing(values)]))
    assert [store.value("g", of=of) for of in "abcd"] == [None, None, -1, 1]
    assert [store.value("c_total", of=of) for of in "abcd"] == [None, None, None, 1]
    assert "a measurement was ignored" in caplog.text


def test_generator_as_callback(store: ApiStore) -> None:
    """A generator is sent the options at each question, until it ends."""
    options_seen = []

    def generator() -> Generator[Iterable[Observation], CallbackOptions, None]:
        options = yield []
        for value in (1, 2):
            options_seen.append(options.timeout_millis)
            options = yield [Observation(value)]

    def empty() -> Generator[Iterable[Observation], CallbackOptions, None]:
        yield from ()

    instrument = store.meter.create_observable_gauge("g", [generator(), empty()])
    store.observe(instrument)
    store.observe(instrument)
    assert store.value("g") == 2
    assert options_seen == [1000.0, 1000.0]
    store.observe(instrument)
    store.observe(instrument)


def test_created_again(store: ApiStore) -> None:
    """An instrument that is created again keeps its callbacks, so that they do not pile up."""
    calls = []

    def callback(options: CallbackOptions) -> list[Observation]:
        calls.append(1)
        return []

    for _ in range(3):
        instrument = store.meter.create_observable_gauge("g", [callback])
    store.observe(instrument)
    assert len(calls) == 1


def test_no_thread_without_an_observable(store: ApiStore) -> None:
    """There is one thread, from the first observable instrument on."""
    store.provider.observers.start(store.folder, INTERVAL, 1.0)
    store.meter.create_counter("c").add(1)
    assert not observers()
    for name in ("a", "b"):
        store.meter.create_observable_gauge(name, [observing({"": 1.0})])
    (thread,) = observers()
    assert thread.daemon
    assert eventually(lambda: store.value("b"))


def test_instruments_that_were_there_before(store: ApiStore) -> None:
    """Instruments that were made before the start are asked, too."""
    store.meter.create_observable_gauge("g", [observing({"": 1.0})])
    assert not observers()
    store.provider.observers.start(store.folder, INTERVAL, 1.0)
    assert eventually(lambda: store.value("g"))


def test_a_new_instrument_need_not_wait(store: ApiStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new instrument is observed soon after a round, and all of them once an interval."""
    monkeypatch.setattr("avatar_telemetry.metrics.api_observers.POLL_INTERVAL", INTERVAL)
    calls: list[str] = []

    def callback(name: str) -> Callable[[CallbackOptions], list[Observation]]:
        return lambda options: [calls.append(name) or Observation(1)]  # type: ignore[func-returns-value]

    store.provider.observers.start(store.folder, 3600.0, 1.0)
    store.meter.create_observable_gauge("a", [callback("a")])
    eventually(lambda: store.value("a"))
    store.meter.create_observable_gauge("b", [callback("b")])
    eventually(lambda: store.value("b"))
    assert calls == ["a", "b"]


def test_one_process_asks(store: ApiStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only one process of a folder asks, and another one when that has ended."""
    asked: list[str] = []
    refused: list[bool] = []

    def callback(who: str) -> Callable[[CallbackOptions], list[Observation]]:
        return lambda options: [asked.append(who) or Observation(10)]  # type: ignore[func-returns-value]

    other = store.other("s1")
    observers = other.provider.observers
    holds_lock = observers._holds_lock

    def try_lock(path: Path) -> bool:
        refused.append(not holds_lock(path))
        return not refused[-1]

    monkeypatch.setattr(observers, "_holds_lock", try_lock)
    for each, who in ((store, "first"), (other, "second")):
        each.provider.observers.start(store.folder, INTERVAL, 1.0)
        each.meter.create_observable_counter("c", [callback(who)])
        eventually(lambda: asked)
    eventually(lambda: len(asked) >= 5 and len(refused) >= 2)
    assert all(refused)
    assert set(asked) == {"first"}
    store.provider.observers.stop()
    eventually(lambda: asked[-1] == "second")
    other.close()
    assert store.value("c_total") == 10


def test_lock_that_was_removed(store: ApiStore) -> None:
    """An observer whose lock file was removed takes the new one, if nobody else has it."""
    rounds: list[int] = []

    def values() -> dict[str, float]:
        rounds.append(1)
        return {"": 1.0}

    store.provider.observers.start(store.folder, INTERVAL, 1.0)
    store.meter.create_observable_gauge("g", [observing(values)])
    eventually(lambda: rounds)
    (store.folder / LOCK_NAME).unlink()
    enough = len(rounds) + 2  # one may have begun before
    eventually(lambda: len(rounds) >= enough)
    assert lock_own(store.folder / LOCK_NAME) is None
    assert [name for name in open_below(store.folder) if "lock" in name] == [LOCK_NAME]


def test_failures_do_not_end_the_thread(tmp_path: Path) -> None:
    """Where the lock cannot be taken it is tried again, and the failure counts."""
    store = ApiStore(tmp_path)
    (tmp_path / LOCK_NAME).mkdir()
    store.provider.observers.start(tmp_path, INTERVAL, 1.0)
    store.meter.create_observable_gauge("g", [observing({"": 1.0})])
    eventually(lambda: store.failures)
    (tmp_path / LOCK_NAME).rmdir()
    eventually(lambda: store.value("g"))
    assert set(store.failures) == {"meters"}
    store.close()


def test_child_does_not_observe(store: ApiStore) -> None:
    """A child that the application forks holds no lock and has no thread, until it serves."""
    store.provider.observers.start(store.folder, INTERVAL, 1.0)
    store.meter.create_observable_gauge("g", [observing({"": 1.0})])
    eventually(lambda: store.value("g"))

    def work() -> list[object]:
        store.book.renew_lock()  # the thread may hold it at the fork
        store.provider.forget()
        store.meter.create_observable_gauge("h", [observing({"": 1.0})])
        seen: list[object] = [LOCK_NAME in open_below(store.folder), len(observers())]
        store.provider.observers.start(store.folder, INTERVAL, 1.0)
        return [*seen, len(observers())]

    assert in_child(work) == [False, 0, 1]
    assert lock_own(store.folder / LOCK_NAME) is None


def test_lock_of_root_is_the_owners(store: ApiStore, as_root: None) -> None:
    """A lock file that root makes can be opened by the workers' user."""
    os.chown(store.folder, 65534, 65534)
    store.provider.observers.start(store.folder, INTERVAL, 1.0)
    store.meter.create_observable_gauge("g", [observing({"": 1.0})])
    eventually(lambda: store.value("g"))
    assert (store.folder / LOCK_NAME).stat().st_uid == 65534
