"""Memory-mapped values: what a file holds at any moment, and what happens where none can be had."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge

from avatar_telemetry.metrics.instruments import REQUESTS
from avatar_telemetry.metrics.mapped import (
    ENTRY_TAIL,
    HEADER,
    INITIAL_SIZE,
    Book,
    CorruptFileError,
    MappedFile,
    encode_key,
    read_entries,
    used_bytes,
)
from avatar_telemetry.metrics.metrics import Metrics
from tests.support.descriptors import open_below
from tests.support.requirements import unavailable
from tests.support.samples import samples_in

REQUEST = (
    "ivatar_requests_total",
    frozenset({("method", "GET"), ("status_code", "200"), ("path", "/")}),
)


def test_a_file_grows_and_old_cells_stay(tmp_path: Path) -> None:
    """A value once placed is written where it was, however large the file has become."""
    file = MappedFile(tmp_path / "counter_0.db")
    doubles, index = file.cell(encode_key("m", "m_total", {"n": "first"}, ""))
    for number in range(2000):
        file.cell(encode_key("m", "m_total", {"n": str(number)}, "some help"))
    assert (tmp_path / "counter_0.db").stat().st_size > INITIAL_SIZE
    doubles[index] += 3.0
    assert samples_in(tmp_path)["m_total", frozenset({("n", "first")})] == 3
    file.close()


def test_values_made_before_there_is_a_folder_are_kept(tmp_path: Path, value_seam: Book) -> None:
    """The counts of an application at import (preload_app) are in the files afterwards."""
    counter = Counter("early", "early", registry=CollectorRegistry())
    counter.inc(4)
    value_seam.open(tmp_path, "master")
    value_seam.open(tmp_path, "0")
    counter.inc()
    assert samples_in(tmp_path)["early_total", frozenset()] == 5


def test_early_values_are_added_to_those_of_the_last_holder(
    tmp_path: Path, value_seam: Book
) -> None:
    """The counts of a process before it took its slot are added to those of the slot."""
    last = Book()
    last.open(tmp_path, "0")
    doubles, index = last.cell("counter", encode_key("early", "early_total", {}, "early"))
    doubles[index] = 3.0
    last.detach()
    Counter("early", "early", registry=CollectorRegistry()).inc(4)
    value_seam.open(tmp_path, "0")
    assert samples_in(tmp_path)["early_total", frozenset()] == 7
    value_seam.detach()


def test_early_gauges_take_the_place_of_those_of_the_last_holder(
    tmp_path: Path, value_seam: Book
) -> None:
    """A gauge that was set keeps its value and its time; one that was only made changes nothing."""
    last = Book()
    last.open(tmp_path, "0")
    for name in ("set", "made"):
        key = encode_key(name, name, {}, "early")
        doubles, index = last.cell("gauge_mostrecent", key)
        doubles[index], doubles[index + 1] = 3.0, 5.0
    last.detach()
    gauges = [
        Gauge(name, "early", multiprocess_mode="mostrecent", registry=CollectorRegistry())
        for name in ("set", "made")
    ]
    gauges[0]._value.set(4.0, timestamp=9.0)
    value_seam.open(tmp_path, "0")
    with value_seam.lock:
        cells = [
            value_seam.cell("gauge_mostrecent", encode_key(name, name, {}, "early"))
            for name in ("set", "made")
        ]
    assert [(doubles[index], doubles[index + 1]) for doubles, index in cells] == [(4, 9), (3, 5)]
    value_seam.detach()


def test_what_is_put_off_is_done_once() -> None:
    """Threads of a forked child that count at the same time take one slot together."""
    book = Book()
    calls: list[int] = []
    second = threading.Thread(target=lambda: touch())

    def call() -> None:
        calls.append(1)
        if len(calls) == 1:
            second.start()
            second.join(0.2)  # it waits for this call, so there is nothing to wait for

    book.on_next_use(call)
    waiting = book.lock

    def touch() -> None:
        with waiting:  # looked up before the first one was through
            pass

    touch()
    second.join()
    assert calls == [1]


def test_a_damaged_file_is_put_aside_by_the_next_holder(tmp_path: Path) -> None:
    """A process that takes a slot with a damaged file starts that file anew and logs it."""
    (tmp_path / "counter_0.db").write_bytes(b"noise" * 100)
    told = []
    book = Book(lambda: told.append(sys.exc_info()[0]))
    book.open(tmp_path, "0")
    Metrics(book, 1000).count(REQUESTS, "GET", "200", "/")
    book.detach()
    assert len(told) == 1
    assert (tmp_path / "counter_0.db.corrupt").exists()
    assert samples_in(tmp_path)[REQUEST] == 1


@pytest.mark.parametrize("place", ["gone/deep", "file/below"])
def test_without_a_place_the_application_goes_on(tmp_path: Path, place: str) -> None:
    """Where files cannot be made, values live in memory, and failures are told."""
    (tmp_path / "file").touch()
    told: list[None] = []
    book = Book(lambda: told.append(None))
    book.open(tmp_path / place, "0")
    metrics = Metrics(book, 1000)
    metrics.count(REQUESTS, "GET", "200", "/")
    metrics.started(0.0)
    metrics.finished(metrics.plan(("GET", "200", "/", "", "", "", "")), 0.1, 0.1)
    assert told


def test_a_full_file_system_kills_nobody(tmp_path: Path) -> None:
    """No space for more series: they are kept in memory, none of the old is lost, no SIGBUS."""
    mount = tmp_path / "small"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(mount)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        unavailable("a small file system cannot be mounted here")
    try:
        program = (
            "import sys\nfrom pathlib import Path\n"
            "from avatar_telemetry.metrics.mapped import Book\n"
            "from avatar_telemetry.metrics.metrics import REQUESTS, Metrics\n"
            "told = []\nbook = Book(lambda: told.append(None))\n"
            "book.open(Path(sys.argv[1]), '0')\nmetrics = Metrics(book, 10**6)\n"
            "for n in range(5000): metrics.count(REQUESTS, 'GET', '200', str(n))\n"
            "metrics.count(REQUESTS, 'GET', '200', '0')\nprint(len(told) > 0)"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, str(mount)], capture_output=True, text=True
        )
        assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
        labels = {("method", "GET"), ("status_code", "200"), ("path", "0")}
        assert samples_in(mount)["ivatar_requests_total", frozenset(labels)] == 2
    finally:
        subprocess.run(["umount", str(mount)], check=True)


class Watched:
    """Mapped memory that is looked at after each store, as a kill would leave it."""

    def __init__(self, memory: Any, look: Any) -> None:
        self._memory = memory
        self._look = look

    def __setitem__(self, where: slice, data: bytes) -> None:
        self._memory[where] = data
        self._look()

    def __len__(self) -> int:
        return len(self._memory)


def keys_of(path: Path) -> list[str]:
    data = path.read_bytes()
    return [key.decode() for key, _ in read_entries(data, used_bytes(data, len(data)))]


def test_a_kill_at_any_store_leaves_a_whole_file(tmp_path: Path) -> None:
    """The entry stands before the length says so: what is read at any moment is all of the
    entries before, and perhaps the new one."""
    path = tmp_path / "counter_0.db"
    file = MappedFile(path)
    keys = [encode_key("m", "m_total", {"n": str(number)}, "help") for number in range(3)]
    file.cell(keys[0])
    seen: list[list[str]] = []
    file._bytes = Watched(file._bytes, lambda: seen.append(keys_of(path)))  # type: ignore[assignment]
    for key in keys[1:]:
        file.cell(key)
    assert seen == [keys[:1], keys[:2], keys[:2], keys[:3]]
    file.close()


def test_a_new_value_begins_at_zero_with_its_timestamp(tmp_path: Path) -> None:
    """A cell is the value and, behind it, the time of a gauge that goes by it."""
    file = MappedFile(tmp_path / "gauge_mostrecent_0.db")
    doubles, index = file.cell("key")
    assert list(doubles[index : index + 2]) == [0.0, 0.0]
    assert file.cell("key") == (doubles, index)
    file.close()


@pytest.mark.parametrize("length", range(1, 10))
def test_entries_are_aligned(tmp_path: Path, length: int) -> None:
    """Doubles stand at multiples of eight bytes, whatever the length of the keys."""
    path = tmp_path / "counter_0.db"
    file = MappedFile(path)
    for number in range(3):
        doubles, index = file.cell(str(number) * length)
        doubles[index] = number + 0.5
    file.close()
    data = path.read_bytes()
    entries = list(read_entries(data, used_bytes(data, len(data))))
    assert [key for key, _ in entries] == [str(number).encode() * length for number in range(3)]
    doubles = memoryview(data).cast("d")
    assert [doubles[index] for _, index in entries] == [0.5, 1.5, 2.5]


def test_a_file_that_is_exactly_full_grows(tmp_path: Path) -> None:
    """The last entry that fits needs no more space, the next one doubles the file."""
    path = tmp_path / "counter_0.db"
    file = MappedFile(path)
    rest = INITIAL_SIZE - HEADER - ENTRY_TAIL - 8
    file.cell("x" * (rest + 3))  # with its own length and a blank, to the last byte
    assert path.stat().st_size == INITIAL_SIZE
    assert struct.unpack_from("i", path.read_bytes())[0] == INITIAL_SIZE
    doubles, index = file.cell("y")
    doubles[index] = 1.5
    assert path.stat().st_size == 2 * INITIAL_SIZE
    assert keys_of(path)[1] == "y"
    file.close()


def test_space_is_reserved(tmp_path: Path) -> None:
    """A sparse file would kill the process at a store into it when the disk is full."""
    file = MappedFile(tmp_path / "counter_0.db")
    assert (tmp_path / "counter_0.db").stat().st_blocks * 512 >= INITIAL_SIZE
    file.close()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"noise", id="odd size"),
        pytest.param(struct.pack("i", -8) + bytes(60), id="negative"),
        pytest.param(struct.pack("i", 4000) + bytes(60), id="beyond the end"),
        pytest.param(struct.pack("i", 12) + bytes(60), id="not aligned"),
        pytest.param(struct.pack("iii", 64, 0, 10**6) + bytes(52), id="key too long"),
        pytest.param(struct.pack("ii", 64, 0) + bytes(56), id="empty key"),
    ],
)
def test_a_file_that_is_refused_is_closed(tmp_path: Path, content: bytes) -> None:
    """A file that does not match the format leaves no open descriptor."""
    path = tmp_path / "counter_0.db"
    path.write_bytes(content)
    with pytest.raises(CorruptFileError):
        MappedFile(path)
    assert open_below(tmp_path) == []
    assert path.read_bytes() == content


def test_closing_a_file_closes_its_descriptor(tmp_path: Path) -> None:
    """Values stay usable until they are forgotten; the mapping has a descriptor of its own."""
    file = MappedFile(tmp_path / "counter_0.db")
    doubles, index = file.cell("key")
    assert len(open_below(tmp_path)) == 2
    file.close()
    assert len(open_below(tmp_path)) == 1
    del file
    doubles[index] = 3.0
    assert struct.unpack_from("d", (tmp_path / "counter_0.db").read_bytes(), 8 * index)[0] == 3.0


def own_key(path: str) -> str:
    """The key of a series of one of our own instruments."""
    return encode_key("ivatar_requests", "ivatar_requests_total", {"path": path}, "")


def test_a_book_that_moves_closes_its_files(tmp_path: Path) -> None:
    """A process that takes another slot, or leaves the folder, holds nothing of the old one."""
    book = Book()
    for identifier in ("0", "1"):
        book.open(tmp_path, identifier)
        book.cell("counter", own_key("a"))
        assert set(open_below(tmp_path)) == {f"counter_{identifier}.db"}
    assert book.series == 1
    book.detach()
    assert open_below(tmp_path) == []
    assert book.series == 0


def test_series_are_counted_once(tmp_path: Path) -> None:
    """The ceiling counts each series of the files once, those of the last holder too."""
    book = Book()
    book.open(tmp_path, "0")
    for key in ("a", "b", "a"):
        book.cell("counter", own_key(key))
    book.cell("histogram", own_key("a"))
    assert book.series == 3
    book.detach()
    book.open(tmp_path, "0")
    book.cell("counter", own_key("c"))
    assert book.series == 3
    assert book.knows("counter", own_key("a"))
    assert not book.knows("counter", own_key("d"))
    book.detach()


def test_values_of_the_application_are_written_under_the_lock(value_seam: Book) -> None:
    """Two threads that count the same thing lose nothing: the lock is held at each store."""
    held: list[bool] = []

    class Doubles(list[float]):
        def __setitem__(self, index: Any, value: Any) -> None:
            held.append(value_seam.lock._is_owned())  # type: ignore[attr-defined]
            super().__setitem__(index, value)

    counter = Counter("c", "c", registry=CollectorRegistry())
    counter._value.place(Doubles([0.0, 0.0]), 0)
    counter.inc()
    counter._value.set(5.0)
    assert held == [True, True]
    assert counter._value.get() == 5.0


def test_a_failure_that_counts_itself_is_reported_once(tmp_path: Path) -> None:
    """The value that counts failures of the store may itself be what has no place."""
    reported = []

    def failed() -> None:
        reported.append(sys.exc_info()[0])
        book.cell("counter", "failures")

    book = Book(failed)
    book.open(tmp_path / "gone", "0")
    book.cell("counter", "key")
    assert reported == [FileNotFoundError]
    book.cell("counter", "key")
    assert len(reported) == 2


@pytest.mark.usefixtures("as_root")
def test_a_file_that_root_makes_is_its_folder_owner_s(tmp_path: Path) -> None:
    """The master may be root; the worker that drops its privileges writes the file next."""
    os.chown(tmp_path, 65_534, 65_533)
    file = MappedFile(tmp_path / "counter_0.db")
    status = (tmp_path / "counter_0.db").stat()
    assert (status.st_uid, status.st_gid) == (65_534, 65_533)
    file.close()
