"""Series that an application declares oddly, or differently after a reload."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from avatar_telemetry.metrics import mapped
from avatar_telemetry.metrics.exposition import render
from avatar_telemetry.metrics.mapped import Book, MappedFile, encode_key
from avatar_telemetry.metrics.merged import MergedStore
from tests.support.samples import samples_in


@pytest.mark.parametrize("place", ["label", "documentation"])
def test_what_has_no_utf8_is_replaced(tmp_path: Path, value_seam: Book, place: str) -> None:
    """A lone surrogate, such as JSON brings in, costs neither the page nor the series."""
    label, text = ("\ud800", "c") if place == "label" else ("x", "\ud800")
    value_seam.open(tmp_path, "0")
    Counter("c", text, ["a"], registry=CollectorRegistry()).labels(label).inc()
    families = MergedStore(tmp_path).read(["0"])
    assert [list(family.values) for family in families] == [[1.0]]
    assert (b'c_total{a="?"} 1.0' if place == "label" else b"# HELP c_total ?") in render(
        families, openmetrics=False
    )


def test_one_bad_series_costs_itself_only(tmp_path: Path) -> None:
    """A key that cannot be parsed and a bound that is no number are left out; others stay."""
    file = MappedFile(tmp_path / "counter_0.db")
    for key in ("no json", '["c", "c_total", [], ""]', encode_key("good", "good_total", {}, "")):
        file.cell(key)
    file.close()
    histograms = MappedFile(tmp_path / "histogram_0.db")
    for name, bounds in (("bad", ("x", "+Inf")), ("good_h", ("1.0", "+Inf"))):
        for bound in bounds:
            histograms.cell(encode_key(name, f"{name}_bucket", {"le": bound}, ""))
        histograms.cell(encode_key(name, f"{name}_sum", {}, ""))
    histograms.close()
    gauges = MappedFile(tmp_path / "gauge_sum_0.db")
    gauges.cell(encode_key("g_bucket", "g_bucket", {"le": "x"}, ""))
    gauges.close()
    store = MergedStore(tmp_path)
    shown = {family.name for family in store.read(["0"]) if family.values}
    assert shown == {"good", "good_h", "g_bucket"}
    assert store.unreadable == 1


def test_a_label_pid_of_the_application_stands_once(tmp_path: Path, value_seam: Book) -> None:
    """A gauge of mode ``all`` keeps the ``pid`` that the application gave it."""
    value_seam.open(tmp_path, "s0")
    gauge = Gauge("g", "g", ["pid"], multiprocess_mode="all", registry=CollectorRegistry())
    gauge.labels("19793").set(1)
    (family,) = MergedStore(tmp_path).read(["s0"])
    assert list(family.prefixes) == ['g{pid="19793"} ']


def test_label_names_that_become_one(tmp_path: Path) -> None:
    """Names that are the same when escaped are one label, with both values."""
    file = MappedFile(tmp_path / "counter_0.db")
    file.cell(encode_key("c", "c_total", {"a.b": "1", "a_b": "2", "a:c": "3"}, ""))
    file.close()
    (family,) = MergedStore(tmp_path).read(["0"])
    assert list(family.prefixes) == ['c_total{a_b="1;2",a_c="3"} ']


def declare(book: Book, folder: Path, identifier: str, make: Callable[..., Any]) -> Any:
    """The start of a worker: it takes a slot and makes its metrics."""
    book.detach()
    book._values.clear()  # the process before is gone
    book._memory.clear()
    book.open(folder, identifier)
    return make(registry=CollectorRegistry())


@pytest.mark.parametrize(
    ("before", "after", "sample"),
    [
        pytest.param(partial(Gauge, "m", "m", multiprocess_mode="all"),
                     partial(Gauge, "m", "m", multiprocess_mode="livemax"), "m", id="mode"),
        pytest.param(partial(Gauge, "m", "m", multiprocess_mode="livemax"),
                     partial(Gauge, "m", "m", multiprocess_mode="all"), "m", id="mode back"),
        pytest.param(partial(Counter, "m", "m"),
                     partial(Gauge, "m", "m", multiprocess_mode="sum"), "m", id="to a gauge"),
        pytest.param(partial(Gauge, "m", "m", multiprocess_mode="sum"),
                     partial(Counter, "m", "m"), "m_total", id="to a counter"),
    ],
)  # fmt: skip
def test_the_newest_declaration_stands(
    tmp_path: Path, value_seam: Book, before: Any, after: Any, sample: str
) -> None:
    """After a reload that changed a type or a mode the old series are left out and counted, also
    when the change is taken back."""
    store = MergedStore(tmp_path)
    for slot in ("s0", "s1"):
        declare(value_seam, tmp_path, slot, before).inc(3)
    store.read(["s0", "s1"])
    assert store.left_out == {}
    declare(value_seam, tmp_path, "s0", after).inc(4)
    (family,) = store.read(["s0", "s1"])
    assert [(name, value) for name, value in zip(family.names, family.values, strict=True)] == [
        (sample, 4.0)
    ]
    assert store.left_out == {"m": 2}
    declare(value_seam, tmp_path, "s0", before)
    (family,) = store.read(["s0", "s1"])
    assert sum(family.values) == (3 if "max" in str(before) else 6)
    assert store.left_out == {"m": 1}


def buckets(folder: Path) -> dict[str, float]:
    return {
        dict(labels).get("le", name): value
        for (name, labels), value in samples_in(folder, ()).items()
    }


def test_buckets_that_are_taken_out_stay_exact(tmp_path: Path, value_seam: Book) -> None:
    """Fewer bounds lose nothing: what was counted between them is in the next one."""
    old, new = (
        partial(Histogram, "h", "h", buckets=(0.5, 1, 2)),
        partial(Histogram, "h", "h", buckets=(2,)),
    )
    for slot in ("s0", "s1"):
        declare(value_seam, tmp_path, slot, old).observe(0.75)
    declare(value_seam, tmp_path, "s0", new).observe(1.5)
    assert buckets(tmp_path) == {"2.0": 3, "+Inf": 3, "h_count": 3, "h_sum": 3}


def test_buckets_that_are_added_begin_anew(tmp_path: Path, value_seam: Book) -> None:
    """More bounds: a slot with the old ones is left out, and its next holder begins at zero."""
    old, new = (
        partial(Histogram, "h", "h", buckets=(2,)),
        partial(Histogram, "h", "h", buckets=(1, 2, 4)),
    )
    for slot in ("s0", "s1"):
        declare(value_seam, tmp_path, slot, old).observe(0.5)
    declare(value_seam, tmp_path, "s0", new).observe(3)
    store = MergedStore(tmp_path)
    store.read([])
    assert store.left_out == {"h": 1}
    expected = {"1.0": 0, "2.0": 0, "4.0": 1, "+Inf": 1, "h_count": 1, "h_sum": 3}
    assert buckets(tmp_path) == expected
    declare(value_seam, tmp_path, "s1", new).observe(0.5)
    expected = {"1.0": 1, "2.0": 1, "4.0": 2, "+Inf": 2, "h_count": 2, "h_sum": 3.5}
    assert buckets(tmp_path) == expected
    declare(value_seam, tmp_path, "s1", new)
    assert buckets(tmp_path) == expected, "the same declaration counts on"


def test_added_buckets_are_looked_for_once(
    tmp_path: Path, value_seam: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many bounds a declaration adds, the other values are looked at once."""
    looked_at: list[str] = []
    series_of = mapped._series_of
    monkeypatch.setattr(mapped, "_series_of", lambda key: looked_at.append(key) or series_of(key))

    old = partial(Histogram, "h", "h", buckets=(100,))
    declare(value_seam, tmp_path, "s0", old).observe(0.5)
    Histogram("g", "g", buckets=(100,), registry=CollectorRegistry()).observe(0.5)
    assert looked_at == []
    new = partial(Histogram, "h", "h", buckets=range(1, 50))
    declare(value_seam, tmp_path, "s0", new).observe(0.5)
    assert len(looked_at) == len(("the series", "le 1", "le 100", "le +Inf", "sum"))
    assert buckets(tmp_path)["h_count"] == 1


@pytest.mark.parametrize("slot", ["s1", "s0"], ids=["first time", "anew"])
def test_a_histogram_that_is_being_declared(
    tmp_path: Path, value_seam: Book, monkeypatch: pytest.MonkeyPatch, slot: str
) -> None:
    """Until its last bucket is declared the page stays as it was, and no conflict is reported."""
    make = partial(Histogram, "h", "h", buckets=(1, 2))
    declare(value_seam, tmp_path, "s0", make).observe(1.5)
    expected = {"1.0": 0, "2.0": 1, "+Inf": 1, "h_count": 1, "h_sum": 1.5}
    store, looks = MergedStore(tmp_path), []
    place = value_seam._place

    def place_and_look(prefix: str, key: str) -> Any:
        cell = place(prefix, key)
        looks.append((buckets(tmp_path), bool(store.read([])), store.left_out))
        return cell

    monkeypatch.setattr(value_seam, "_place", place_and_look)
    declare(value_seam, tmp_path, slot, make)
    assert len(looks) >= 4
    assert looks == [(expected, True, {})] * len(looks)
