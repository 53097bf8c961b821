"""Exemplars of several slots: the newest stands, through ends, kills and damaged files."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.samples import Exemplar as ClientExemplar

from avatar_telemetry.metrics import mapped
from avatar_telemetry.metrics.exemplars import MAX_FILE_BYTES, SIZES
from avatar_telemetry.metrics.instruments import AUTH_ATTEMPTS, UPLOAD_SIZE
from avatar_telemetry.metrics.mapped import HEADER, Book, read_entries
from avatar_telemetry.metrics.merged import MergedStore
from avatar_telemetry.metrics.metrics import Metrics
from tests.support.samples import exemplars_in

LABELS = ("GET", "200", "/", "", "", "", "")
FAILED = ("GET", "503", "/avatar/{digest}", "80", "png", "miss", "generated")
SPAN = b"spanspan"
TIMES = itertools.count(10**18, 10**9)


class OpenBooks:
    """Books of slots, which are closed at the end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._books = ExitStack()

    def slot(self, identifier: str) -> Metrics:
        book = Book()
        book.open(self._folder, identifier)
        self._books.callback(book.detach)
        return Metrics(book, 1000)

    def close(self) -> None:
        self._books.close()


@pytest.fixture
def books(tmp_path: Path) -> Iterator[OpenBooks]:
    opened = OpenBooks(tmp_path)
    yield opened
    opened.close()


def request(recorder: Metrics, trace: str, duration: float, *labels: str) -> None:
    """Count a request and keep its trace."""
    plan = recorder.plan(labels or LABELS)
    recorder.started(0.0)
    bucket = recorder.finished(plan, duration, duration)
    keep(recorder, trace, plan, bucket, duration, duration)


def keep(recorder: Metrics, trace: str, *arguments: Any) -> None:
    """Keep a trace that ends a second after the one before."""
    recorder.keep_trace((trace.encode().ljust(16), SPAN, next(TIMES)), *arguments)


def traces_in(folder: Path, name: str = "ivatar_request_duration_seconds") -> dict[str, str]:
    """The traces of the buckets of a histogram, by bound."""
    return {
        dict(labels)["le"]: bytes.fromhex(dict(exemplar.labels)["trace_id"]).decode().strip()
        for (sample, labels), exemplar in exemplars_in(folder).items()
        if sample == f"{name}_bucket"
    }


def test_each_bucket_keeps_its_last_trace(tmp_path: Path, books: OpenBooks) -> None:
    """A bucket has the last request in it, whatever came later in others."""
    recorder = books.slot("s0")
    for trace, duration in (("a", 0.2), ("b", 0.2), ("c", 0.7), ("d", 60.0)):
        request(recorder, trace, duration)
    assert traces_in(tmp_path) == {"0.25": "b", "1.0": "c", "+Inf": "d"}
    assert traces_in(tmp_path, "ivatar_request_first_byte_seconds") == traces_in(tmp_path)


def test_the_first_byte_has_its_own_bucket_and_value(tmp_path: Path, books: OpenBooks) -> None:
    """A stream has its duration in one bucket and its first byte in another, with its value."""
    recorder = books.slot("s0")
    plan = recorder.plan(FAILED)
    keep(recorder, "t", plan, recorder.finished(plan, 4.0, 0.2), 4.0, 0.2)
    found = {
        (name, dict(labels).get("le")): exemplar.value
        for (name, labels), exemplar in exemplars_in(tmp_path).items()
    }
    assert found == {
        ("ivatar_request_duration_seconds_bucket", "5.0"): 4.0,
        ("ivatar_request_first_byte_seconds_bucket", "0.25"): 0.2,
        ("ivatar_avatar_generation_seconds_bucket", "0.25"): 0.2,
        ("ivatar_requests_total", None): 1.0,
        ("ivatar_avatar_requests_total", None): 1.0,
    }


def test_other_measurements_of_a_request(tmp_path: Path, books: OpenBooks) -> None:
    """A measurement before the end of the request has its exemplar, too."""
    recorder = books.slot("s0")
    recorder.observe(UPLOAD_SIZE, 2000.0, "image/png")
    recorder.count(AUTH_ATTEMPTS, "login", "false")
    measurements = [
        (UPLOAD_SIZE, 2000.0, ("image/png",)), (AUTH_ATTEMPTS, 1.0, ("login", "false"))
    ]  # fmt: skip
    keep(recorder, "t", recorder.plan(LABELS), 0, 0.1, 0.1, measurements)
    found = exemplars_in(tmp_path)
    labels = frozenset({("content_type", "image/png"), ("le", "4096.0")})
    assert found["ivatar_file_upload_size_bytes_bucket", labels].value == 2000.0
    labels = frozenset({("operation", "login"), ("success", "false")})
    assert found["ivatar_auth_attempts_total", labels].value == 1.0


def test_the_newest_of_all_slots(tmp_path: Path, books: OpenBooks) -> None:
    """Whichever slot kept it: a reader that goes on shows the newest trace of each bucket."""
    store = MergedStore(tmp_path)
    first, second = books.slot("s0"), books.slot("s1")
    for recorder, trace, duration in (
        (second, "a", 0.2), (first, "b", 0.2), (second, "c", 0.2), (first, "d", 0.7)
    ):  # fmt: skip
        request(recorder, trace, duration)
        (family,) = (each for each in store.read(()) if each.name.endswith("duration_seconds"))
        assert len(family.exemplars) == 1 + (trace == "d")
        traces = [dict(each.labels)["trace_id"] for each in family.exemplars.values()]
        assert trace.encode().ljust(16).hex() in traces
    assert traces_in(tmp_path) == {"0.25": "c", "1.0": "d"}


def test_the_next_holder_continues(tmp_path: Path) -> None:
    """The exemplars of a slot survive its holder, and the next one replaces them by bucket."""
    for trace, duration in (("a", 0.2), ("b", 0.7), ("c", 0.7)):
        books = OpenBooks(tmp_path)
        request(books.slot("s0"), trace, duration)
        books.close()
    assert traces_in(tmp_path) == {"0.25": "a", "1.0": "c"}
    assert len(list(tmp_path.glob("*.exemplars"))) == 1


def test_a_torn_record_is_not_shown(tmp_path: Path, books: OpenBooks) -> None:
    """Of a store that a kill interrupted nothing is shown; another slot's record stands."""
    request(books.slot("s0"), "a", 0.2)
    request(books.slot("s1"), "b", 0.2)
    path = tmp_path / "traces_s1.exemplars"
    data = path.read_bytes()
    used = int.from_bytes(data[:4], "little")
    with path.open("r+b") as file:
        for _, index in read_entries(data, used, HEADER, SIZES["traces"]):
            file.seek(8 * index + 20)
            file.write(b"torn")
    assert traces_in(tmp_path) == {"0.25": "a"}


def test_a_full_file_leaves_out_series(
    tmp_path: Path, books: OpenBooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the bound there are no further exemplars, no error, and no larger file."""
    monkeypatch.setattr(mapped, "MAX_FILE_BYTES", mapped.INITIAL_SIZE)
    recorder = books.slot("s0")
    for number in range(300):
        request(recorder, "first", 0.2, "GET", "200", f"/{number}", "", "", "", "")
        request(recorder, "last", 0.2, "GET", "200", f"/{number}", "", "", "", "")
    (path,) = tmp_path.glob("*.exemplars")
    assert path.stat().st_size == mapped.INITIAL_SIZE
    found = exemplars_in(tmp_path)
    assert 150 < len(found) < 600
    last = b"last".ljust(16).hex()
    assert {dict(exemplar.labels)["trace_id"] for exemplar in found.values()} == {last}
    assert MAX_FILE_BYTES == 1 << 20


def test_a_damaged_file_is_put_aside(tmp_path: Path, books: OpenBooks) -> None:
    """A reader counts it as unreadable; the next holder of the slot starts another one."""
    path = tmp_path / "traces_s0.exemplars"
    path.write_bytes(b"noise" * 100)
    store = MergedStore(tmp_path)
    store.read(())
    assert store.unreadable == 1
    request(books.slot("s0"), "a", 0.2)
    assert traces_in(tmp_path) == {"0.25": "a"}
    assert (tmp_path / "traces_s0.exemplars.corrupt").exists()
    store.read(())
    assert store.unreadable == 0


def test_a_removed_file_is_made_again(tmp_path: Path) -> None:
    """A book sees that its file is gone; a reader forgets it, and reads the new one."""
    book = Book()
    book.open(tmp_path, "s0")
    recorder = Metrics(book, 1000)
    store = MergedStore(tmp_path)
    request(recorder, "a", 0.2)
    store.read(())
    (path,) = tmp_path.glob("*.exemplars")
    path.unlink()
    assert not book.is_intact
    assert not any(family.exemplars for family in store.read(()))
    book.move(tmp_path, "s0")
    recorder.renew()
    request(recorder, "b", 0.2)
    assert traces_in(tmp_path) == {"0.25": "b"}
    assert sum(len(family.exemplars) for family in store.read(())) == 2
    book.detach()


def test_without_a_folder_nothing_is_kept(tmp_path: Path) -> None:
    """A process without files, such as a forked child, counts on without exemplars."""
    recorder = Metrics(Book(), 1000)
    request(recorder, "a", 0.2)
    request(recorder, "b", 0.2, *FAILED)
    assert not list(tmp_path.iterdir())


def test_exemplars_of_prometheus_client(tmp_path: Path, value_seam: Book) -> None:
    """Those of the application are kept over processes, within what OpenMetrics allows."""
    registry = CollectorRegistry()
    counter = Counter("jobs", "Jobs.", registry=registry)
    histogram = Histogram("sizes", "Sizes.", ["kind"], registry=registry, buckets=(1.0, 2.0))
    for identifier, user in (("s0", "anna"), ("s1", 'q"\n\\ü')):
        value_seam.open(tmp_path, identifier)
        counter.inc(3, exemplar={"user": user})
        histogram.labels("a").observe(1.5, exemplar={"trace_id": user, "n": "1"})
        histogram.labels("a").observe(9.0)
    value_seam.detach()
    found = exemplars_in(tmp_path)
    assert {key: (each.labels, each.value) for key, each in found.items()} == {
        ("jobs_total", frozenset()): ((("user", 'q"\n\\ü'),), 3.0),
        ("sizes_bucket", frozenset({("kind", "a"), ("le", "2.0")})): (
            (("n", "1"), ("trace_id", 'q"\n\\ü')), 1.5,
        ),
    }  # fmt: skip


def test_labels_too_long_for_the_page_are_left_out(tmp_path: Path, value_seam: Book) -> None:
    """A value of the application's own class is no way around the limit, and nothing is raised."""
    value_seam.open(tmp_path, "s0")
    counter = Counter("jobs", "Jobs.", registry=CollectorRegistry())
    counter.inc()
    counter._value.set_exemplar(ClientExemplar({"user": "x" * 125}, 1.0, 5.0))
    assert not exemplars_in(tmp_path)
    counter._value.set_exemplar(ClientExemplar({"user": "x" * 124}, 1.0, 5.0))
    assert len(exemplars_in(tmp_path)) == 1
