"""Incremental merging: after any history a reader that goes on shows what a new one would."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from avatar_telemetry.metrics import mapped
from avatar_telemetry.metrics.exposition import render
from avatar_telemetry.metrics.family import format_bound
from avatar_telemetry.metrics.instruments import IN_PROGRESS
from avatar_telemetry.metrics.mapped import Book, MappedFile, encode_key
from avatar_telemetry.metrics.merged import MergedStore
from tests.support.paths import REPOSITORY
from tests.support.samples import samples_in, samples_of_client

SLOTS = ("0", "1", "10")
MODES = ("all", "min", "max", "sum", "mostrecent")
GAUGES = [f"gauge_{live}{mode}" for live in ("", "live") for mode in MODES]
CONFLICTING = ("counter", "gauge_sum", "gauge_livemax", "gauge_mostrecent", "histogram")
BOUNDS = ((1.0, 2.0), (2.0,), (1.0, 2.0, 4.0), (0.5,))
LABELS = st.sampled_from([{}, {"a": "x"}, {"a": "y"}, {"a": 'q"\\'}, {"a": "x", "pid": "7"}])
VALUES = st.integers(-8, 8).map(float)
Cells = list[tuple[str, str]]


def cells_of(prefix: str, name: str, labels: dict[str, str], help_: str, bounds: tuple) -> Cells:
    """The files and keys of a series, in the order in which a process makes them."""

    def key(sample: str, **more: str) -> str:
        return encode_key(name, sample, labels | more, help_)

    if prefix == "counter":
        return [(prefix, key(f"{name}_total"))]
    if prefix == "summary":
        return [(prefix, key(f"{name}_count")), (prefix, key(f"{name}_sum"))]
    if prefix == "histogram":
        buckets = [key(f"{name}_bucket", le=format_bound(each)) for each in (*bounds, float("inf"))]
        return [(prefix, each) for each in (key(f"{name}_sum"), *buckets)]
    return [(prefix, key(name))]


class Histories(RuleBasedStateMachine):
    """Processes that take slots, make series and end, in a folder that is read after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = Path(self.temporary.name)
        self.clock = itertools.count(1)
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(mapped, "time", SimpleNamespace(time=lambda: float(next(self.clock))))
        self.store = MergedStore(self.folder)
        self.books: dict[str, Book] = {}
        self.declared: dict[str, dict[str, int]] = {}
        self.alive = set(SLOTS)
        self.comparable = True
        """Return whether prometheus_client's collector has rules for all that has happened."""

    def teardown(self) -> None:
        for book in self.books.values():
            book.detach()
        self.patch.undo()
        self.temporary.cleanup()

    def use(self, slot: str, cells: Cells, value: float) -> None:
        book = self.books[slot]
        with book.lock:
            for number, (prefix, key) in enumerate(cells):
                doubles, index = book.cell(prefix, key)
                if prefix.startswith("gauge"):
                    doubles[index] = value
                elif number in (0, len(cells) - 1):
                    doubles[index] += abs(value)
                if prefix.endswith("mostrecent"):
                    doubles[index + 1] = float(next(self.clock))

    @initialize()
    def start_all(self) -> None:
        for slot in SLOTS:
            self.start(slot, 0, 0)

    @rule(slot=st.sampled_from(SLOTS), type_=st.integers(0, 4), bounds=st.integers(0, 3))
    def start(self, slot: str, type_: int, bounds: int) -> None:
        """A process takes a slot, with declarations of its own."""
        if slot in self.books:
            self.books[slot].detach()
        for path in self.folder.glob(f"gauge_live*_{slot}.db"):
            path.unlink()
        self.books[slot] = Book()
        self.books[slot].open(self.folder, slot)
        self.declared[slot] = {"type": type_, "bounds": bounds}

    @rule(slot=st.sampled_from(SLOTS), name=st.sampled_from(["c", "h", "s", *GAUGES]),
          labels=LABELS, value=VALUES)  # fmt: skip
    def record(self, slot: str, name: str, labels: dict[str, str], value: float) -> None:
        """A series whose type never changes, though its buckets may."""
        prefix = {"c": "counter", "h": "histogram", "s": "summary"}.get(name, name)
        bounds = BOUNDS[self.declared[slot]["bounds"]]
        self.use(slot, cells_of(prefix, name, labels, "help", bounds), value)
        self.compare(prefix, labels)

    @rule(slot=st.sampled_from(SLOTS), labels=LABELS, value=VALUES)
    def record_conflicting(self, slot: str, labels: dict[str, str], value: float) -> None:
        """A series of a metric that each process may declare with another type."""
        prefix = CONFLICTING[self.declared[slot]["type"]]
        bounds = BOUNDS[self.declared[slot]["bounds"]]
        self.use(slot, cells_of(prefix, "m", labels, "help", bounds), value)
        self.compare(prefix, labels)

    def compare(self, prefix: str, labels: dict[str, str]) -> None:
        """Exclude what prometheus_client loses: a label ``pid`` of a gauge of the application."""
        if prefix.startswith("gauge") and "pid" in labels:
            self.comparable = False

    @rule(slot=st.sampled_from(SLOTS), name=st.sampled_from(["c", *GAUGES]), labels=LABELS,
          value=VALUES, help_=st.sampled_from(["old", "new"]))  # fmt: skip
    def change_help(
        self, slot: str, name: str, labels: dict[str, str], value: float, help_: str
    ) -> None:
        """A series with another help text than elsewhere."""
        prefix = {"c": "counter"}.get(name, name)
        self.use(slot, cells_of(prefix, name, labels, help_, ()), value)
        self.comparable = False

    @rule(slot=st.sampled_from(SLOTS), labels=LABELS, made=st.integers(1, 4))
    def die_half_way(self, slot: str, labels: dict[str, str], made: int) -> None:
        """A process that is killed while it makes a histogram."""
        bounds = BOUNDS[self.declared[slot]["bounds"]]
        self.use(slot, cells_of("histogram", "h", labels, "help", bounds)[:made], 0.0)
        self.comparable = False
        self.start(slot, **{"type_": self.declared[slot]["type"], "bounds": 0})

    @rule(slot=st.sampled_from(SLOTS), key=st.sampled_from(["no JSON", '["c"]', "[1, 2, {}, 3]"]))
    def damage_key(self, slot: str, key: str) -> None:
        self.use(slot, [("counter", key)], 1.0)
        self.comparable = False

    @rule(data=st.data(), used=st.integers(0, 60))
    def replace_file(self, data: st.DataObject, used: int) -> None:
        """A file that is put in the place of another: shorter, of nobody, or cut anywhere."""
        path = data.draw(st.sampled_from(sorted(self.folder.glob("*.db")) or [None]))
        if path is None:
            return
        content = path.read_bytes()
        if data.draw(st.booleans()):
            content = len(content).to_bytes(4, "little") + content[4:]
        path.with_suffix(".new").write_bytes(content[: used * 8] if used < 50 else content)
        path.with_suffix(".new").replace(path)
        self.comparable = False

    @rule(data=st.data())
    def remove_file(self, data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(sorted(self.folder.glob("*.db")) or [None]))
        if path is not None:
            path.unlink()

    @rule(slot=st.sampled_from(SLOTS))
    def change_living(self, slot: str) -> None:
        self.alive ^= {slot}

    @rule()
    def scrape(self) -> None:
        """Nothing but another read."""

    @precondition(lambda self: self.books)
    @invariant()
    def reads_as_a_new_reader(self) -> None:
        """The page is the same, and so is what could not be read or merged."""
        new = MergedStore(self.folder)
        expected = new.read(self.alive)
        families = self.store.read(self.alive)
        assert render(families, openmetrics=True) == render(expected, openmetrics=True)
        assert [(each.names, each.labels) for each in families] == [
            (each.names, each.labels) for each in expected
        ]
        assert self.store.left_out == new.left_out
        assert self.store.unreadable == new.unreadable

    @precondition(lambda self: self.books and self.comparable and self.alive == set(SLOTS))
    @invariant()
    def reads_as_prometheus_client(self) -> None:
        """So does prometheus_client's collector, where nothing is left out."""
        if self.store.left_out:
            return
        assert samples_in(self.folder, SLOTS) == samples_of_client(self.folder)


TestHistories = Histories.TestCase
TestHistories.settings = hypothesis_settings(stateful_step_count=30)


def test_the_help_text_of_the_last_file_is_shown(tmp_path: Path) -> None:
    """A changed text of a known series replaces the old one, and goes with its file."""
    store = MergedStore(tmp_path)
    shown = []
    for slot, text in (("0", "old"), ("1", "new")):
        file = MappedFile(tmp_path / f"counter_{slot}.db")
        file.cell(encode_key("m", "m_total", {}, text))
        file.close()
        shown += [family.documentation for family in store.read([])]
    (tmp_path / "counter_1.db").unlink()
    shown += [family.documentation for family in store.read([])]
    assert shown == ["old", "new", "old"]


def test_each_process_has_its_requests_in_progress(tmp_path: Path) -> None:
    """A live gauge is known for each process, also where another series of the file has two
    help texts, until the file has gone."""
    store = MergedStore(tmp_path)
    key = encode_key(IN_PROGRESS.name, IN_PROGRESS.name, {}, "")
    other = [encode_key("g", "g", {}, text) for text in ("old", "new")]
    for slot, value in (("0", 2.0), ("1", 0.0)):
        file = MappedFile(tmp_path / f"{IN_PROGRESS.prefix}_{slot}.db")
        for each in (*other, key):
            doubles, index = file.cell(each)
            doubles[index] = value
        file.close()
    asked = IN_PROGRESS.prefix, IN_PROGRESS.name
    assert store.by_identifier(*asked) == {}
    store.read(["0", "1"])
    assert store.by_identifier(*asked) == {"0": 2.0, "1": 0.0}
    assert store.by_identifier(IN_PROGRESS.prefix, "g") == {"0": 4.0, "1": 0.0}
    store.read(["1"])
    assert store.by_identifier(*asked) == {"1": 0.0}


def test_new_file_with_the_inode_of_the_old_one(tmp_path: Path) -> None:
    """Live gauges that a slot's next holder makes in another order are not read as the last's."""
    store = MergedStore(tmp_path)
    path = tmp_path / "gauge_livesum_0.db"
    for values in ({"a": 1.0, "b": 2.0}, {"b": 20.0, "a": 10.0}):
        file = MappedFile(path)
        for label, value in values.items():
            doubles, index = file.cell(encode_key("g", "g", {"k": label}, ""))
            doubles[index] = value
        file.close()
        (family,) = store.read(["0"])
        shown = zip((dict(each)["k"] for each in family.labels), family.values, strict=True)
        assert dict(shown) == values
        os.truncate(path, 0)  # an inode is given again as soon as its file was removed


def test_series_that_have_gone_are_forgotten(tmp_path: Path) -> None:
    """Live gauges whose labels each process chooses anew do not fill the reader's memory."""
    store = MergedStore(tmp_path)
    for number in range(50):
        file = MappedFile(tmp_path / "gauge_livesum_0.db")
        for each in range(4):
            file.cell(encode_key("g", "g", {"a": f"{number}/{each}"}, ""))
        file.close()
        (family,) = store.read(["0"])
        assert len(family.values) == 4
        (tmp_path / "gauge_livesum_0.db").unlink()
    group = store._groups["gauge_livesum"]
    assert len(group._keys) <= 8


WRITER = """
import sys
from pathlib import Path
from avatar_telemetry.metrics.instruments import DURATION, REQUESTS
from avatar_telemetry.metrics.mapped import Book
from avatar_telemetry.metrics.metrics import Metrics

book = Book()
book.open(Path(sys.argv[1]), sys.argv[2])
metrics = Metrics(book, 100_000)
for number in range(400):
    metrics.count(REQUESTS, "GET", "200", f"/{number}")
    metrics.observe(DURATION, 0.1, "GET", "200", f"/{number}")
"""


def test_files_that_grow_while_they_are_read(tmp_path: Path) -> None:
    """While two processes make series at full speed no read fails, and no counter goes
    back."""
    store = MergedStore(tmp_path)
    with ExitStack() as running:
        command = [sys.executable, "-c", WRITER, str(tmp_path)]
        processes = [
            running.enter_context(subprocess.Popen([*command, slot], cwd=REPOSITORY))
            for slot in ("0", "1")
        ]
        before: dict[str, float] = {}
        while None in [process.poll() for process in processes]:
            values = {
                prefix: value
                for family in store.read([])
                if family.type == "counter"
                for prefix, value in zip(family.prefixes, family.values, strict=True)
            }
            assert store.unreadable == 0
            assert {key for key, value in before.items() if values.get(key, -1.0) < value} == set()
            before = values
        assert [process.returncode for process in processes] == [0, 0]
    expected = MergedStore(tmp_path).read([])
    assert render(store.read([]), openmetrics=True) == render(expected, openmetrics=True)
    assert store.left_out == {}
