"""The merged store: files of ours, of prometheus_client, and of neither, read as one page."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Gauge

from avatar_telemetry.metrics.instruments import (
    DURATION,
    REQUESTS,
)
from avatar_telemetry.metrics.mapped import Book, MappedFile, encode_key
from avatar_telemetry.metrics.merged import MergedStore
from avatar_telemetry.metrics.metrics import Metrics
from tests.support.instruments import use_instruments
from tests.support.paths import REPOSITORY
from tests.support.samples import samples_in, samples_of_client

REQUEST = (
    "ivatar_requests_total",
    frozenset({("method", "GET"), ("status_code", "200"), ("path", "/")}),
)
NOISE = struct.pack("ii", 64, 0) + b"\xff" * 60
LONG_KEY = struct.pack("iii", 64, 0, 10**6) + bytes(60)


def test_file_without_a_series_yet(tmp_path: Path) -> None:
    """A reader may come between the making of a file and its first series; it finds all others."""
    first = MappedFile(tmp_path / "counter_0.db")
    first.cell(encode_key("c", "c_total", {}, "help"))
    late = MappedFile(tmp_path / "histogram_0.db")
    store = MergedStore(tmp_path)
    assert [family.name for family in store.read(["0"])] == ["c"]
    assert store.unreadable == 0
    late.cell(encode_key("s", "s_count", {}, "help"))
    assert [family.name for family in store.read(["0"])] == ["c", "s"]
    first.close()
    late.close()


def test_prometheus_client_reads_what_we_write(tmp_path: Path, value_seam: Book) -> None:
    """All of its types and gauge modes, over several slots, are the same to both readers."""
    for number in range(3):
        value_seam.open(tmp_path, str(number))
        use_instruments(number)
    merged = samples_in(tmp_path)
    assert merged == samples_of_client(tmp_path)
    assert merged["c_total", frozenset({("a", "x")})] == 6
    assert merged["g_livesum", frozenset()] == 4.5


def test_we_read_what_prometheus_client_writes(tmp_path: Path) -> None:
    """Files of processes without our layer, named by pids, are the same to both readers."""
    program = """
import os
from tests.support.instruments import use_instruments
for number in range(2):
    if os.fork() == 0:
        use_instruments(number)
        os._exit(0)
    assert os.wait()[1] == 0
"""
    environ = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program], check=True, cwd=REPOSITORY, env=environ)
    pids = {path.stem.rpartition("_")[2] for path in tmp_path.glob("*.db")}
    assert len(pids) == 2
    assert samples_in(tmp_path, tuple(pids)) == samples_of_client(tmp_path)


def test_a_changed_help_text_splits_no_series(tmp_path: Path) -> None:
    """After a deployment that changed a help text the old and the new values are one series."""
    file = MappedFile(tmp_path / "counter_0.db")
    for text, amount in (("old", 2.0), ("new", 3.0)):
        doubles, index = file.cell(encode_key("m", "m_total", {}, text))
        doubles[index] = amount
    file.close()
    assert samples_in(tmp_path) == {("m_total", frozenset()): 5.0}


def test_live_gauges_of_the_dead_do_not_count(tmp_path: Path, value_seam: Book) -> None:
    """Only living processes have something in progress."""
    for number in range(2):
        value_seam.open(tmp_path, str(number))
        Gauge("g", "g", multiprocess_mode="livesum", registry=CollectorRegistry()).set(1)
    assert samples_in(tmp_path, ("1",)) == {("g", frozenset()): 1.0}


def test_a_histogram_that_was_never_finished_is_left_out(tmp_path: Path) -> None:
    """A process killed while it made a histogram has counted nothing in it."""
    file = MappedFile(tmp_path / "histogram_0.db")
    file.cell(encode_key("h", "h_sum", {}, ""))
    file.cell(encode_key("h", "h_bucket", {"le": "1.0"}, ""))
    file.close()
    assert samples_in(tmp_path) == {}


def filled(folder: Path) -> bytes:
    book = Book()
    book.open(folder, "0")
    metrics = Metrics(book, 1000)
    metrics.count(REQUESTS, "GET", "200", "/")
    metrics.observe(DURATION, 0.1, "GET", "200", "/")
    book.detach()
    return (folder / "histogram_0.db").read_bytes()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("counter_9.db", b"\x01", id="one byte"),
        pytest.param("counter_9.db", struct.pack("i", -8) + bytes(60), id="negative"),
        pytest.param("counter_9.db", struct.pack("i", 4000) + bytes(60), id="too long"),
        pytest.param("counter_9.db", LONG_KEY, id="key too long"),
        pytest.param("counter_9.db", NOISE, id="noise"),
        pytest.param("counter_9.db", b"[" * 100_000, id="brackets"),
        pytest.param("note.db", b"hello", id="foreign"),
        pytest.param("gauge_odd_9.db", b"hello", id="unknown mode"),
    ],
)
def test_a_foreign_file_is_skipped_and_counted(tmp_path: Path, name: str, content: bytes) -> None:
    """A file that is none of ours costs itself only, at every read."""
    filled(tmp_path)
    before = samples_in(tmp_path)
    (tmp_path / name).write_bytes(content)
    store = MergedStore(tmp_path)
    for _ in range(2):
        assert sum(len(family.values) for family in store.read(["0"])) == len(before)
        assert store.unreadable == 1


def test_a_file_that_is_cut_off_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It costs itself only, at any length."""
    filled(tmp_path)
    whole = os.preadv
    for missing in range(1, 400):
        monkeypatch.setattr(os, "preadv", lambda *read, cut=missing: whole(*read) - cut)
        MergedStore(tmp_path).read(["0"])


def test_what_is_no_file_is_skipped(tmp_path: Path) -> None:
    """A folder, a pipe, a dead link or a device under the name of a metric file hang nothing."""
    (tmp_path / "counter_1.db").mkdir()
    os.mkfifo(tmp_path / "counter_2.db")
    (tmp_path / "counter_3.db").symlink_to("/dev/zero")
    (tmp_path / "counter_4.db").symlink_to("/nowhere")
    store = MergedStore(tmp_path)
    assert store.read([]) == []
    assert store.unreadable == 3  # what does not exist is no file


def test_a_gauge_of_an_unknown_mode_hides_no_other_file(tmp_path: Path) -> None:
    """Another program, or a version to come, may write one."""
    for prefix in ("gauge_sum", "gauge_median"):
        file = MappedFile(tmp_path / f"{prefix}_1.db")
        doubles, index = file.cell(encode_key("g", "g", {}, ""))
        doubles[index] = 2.0
        file.close()
    store = MergedStore(tmp_path)
    assert [list(each.values) for each in store.read([])] == [[2.0]]
    assert store.unreadable == 1


def test_a_damaged_key_hides_no_other(tmp_path: Path) -> None:
    """The other series of its file count, and the file counts as unreadable."""
    file = MappedFile(tmp_path / "counter_1.db")
    for key in (encode_key("a", "a_total", {}, ""), "no JSON", encode_key("b", "b_total", {}, "")):
        doubles, index = file.cell(key)
        doubles[index] = 2.0
    file.close()
    store = MergedStore(tmp_path)
    assert [each.name for each in store.read([])] == ["a", "b"]
    assert store.unreadable == 1


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return filled(tmp_path_factory.mktemp("whole"))


@hypothesis_settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_no_damage_breaks_a_read(tmp_path: Path, whole: bytes, data: st.DataObject) -> None:
    """Whatever bytes are changed or cut off, a read gives what it can and raises nothing."""
    used = struct.unpack_from("i", whole)[0]
    content = bytearray(whole[: data.draw(st.integers(0, used + 64))])
    for _ in range(data.draw(st.integers(0, 4))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "histogram_0.db").write_bytes(content)
    MergedStore(tmp_path).read(["0"])


def test_a_vanished_folder_is_an_empty_page(tmp_path: Path) -> None:
    """A folder removed under the reader is counted, not raised."""
    store = MergedStore(tmp_path / "gone")
    assert store.read([]) == []
    assert store.unreadable == 1


def write_values(path: Path, values: dict[str, float]) -> None:
    file = MappedFile(path)
    for label, value in values.items():
        doubles, index = file.cell(encode_key("m", "m", {"n": label}, ""))
        doubles[index] = value
    file.close()


def test_a_replaced_file_is_read_anew(tmp_path: Path) -> None:
    """A file that was put aside and begun anew has other series at the places of the old ones."""
    path = tmp_path / "gauge_all_0.db"
    write_values(path, {"a": 1.0})
    store = MergedStore(tmp_path)
    assert [dict(labels)["n"] for labels in store.read(["0"])[0].labels] == ["a"]
    path.rename(tmp_path / "gauge_all_0.db.corrupt")
    write_values(path, {"b": 2.0, "c": 3.0})
    (family,) = store.read(["0"])
    read = {dict(labels)["n"]: value
            for labels, value in zip(family.labels, family.values, strict=True)}  # fmt: skip
    assert read == {"b": 2.0, "c": 3.0}


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("min", {"a": 5.0, "b": 7.0, "c": -7.0}),
        ("max", {"a": 6.0, "b": 7.0, "c": -7.0}),
        ("sum", {"a": 11.0, "b": 7.0, "c": -7.0}),
    ],
)
def test_a_series_that_a_file_lacks_changes_nothing(
    tmp_path: Path, mode: str, expected: dict[str, float]
) -> None:
    """Neither a minimum nor a maximum counts what is not there as zero."""
    write_values(tmp_path / f"gauge_{mode}_0.db", {"a": 5.0, "b": 7.0})
    write_values(tmp_path / f"gauge_{mode}_1.db", {"c": -7.0, "a": 6.0})
    read = {dict(labels)["n"]: value for (_, labels), value in samples_in(tmp_path).items()}
    assert read == expected
    assert samples_in(tmp_path) == samples_of_client(tmp_path)
