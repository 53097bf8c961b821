"""Values that leave a removed folder, and a full one when there is space."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from avatar_telemetry._base.errors import SettingsError
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.metrics.instruments import (
    DURATION,
    FIRST_BYTE,
    IN_PROGRESS,
    INTERNAL_ERRORS,
    REQUESTS,
)
from avatar_telemetry.metrics.mapped import Book, encode_key
from avatar_telemetry.metrics.metrics import Metrics
from avatar_telemetry.runtime.startup import check_space
from tests.support.instruments import use_instruments
from tests.support.requirements import unavailable
from tests.support.samples import samples_in

SPACE_IS_BACK = """
import sys
from pathlib import Path
from avatar_telemetry.metrics.instruments import REQUESTS
from avatar_telemetry.metrics.mapped import Book, value_class
from avatar_telemetry.metrics.metrics import Metrics

folder, filler = Path(sys.argv[1]), Path(sys.argv[1]) / "filler"
filler.write_bytes(bytes(200 << 10))
book = Book()
metrics = Metrics(book, 10**6, lambda: book.recover() and metrics.renew())
book.open(folder, "s0")
counter = value_class(book)("counter", "app", "app_total", [], [], "")
metrics.renew()
counter.inc(2)
for number in range(3):
    metrics.count(REQUESTS, "GET", "200", str(number))
assert book.short and not book.recover()
filler.unlink()
metrics.started(0.0)
assert not book.short
counter.inc(1)
metrics.count(REQUESTS, "GET", "200", "0")
"""


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    mount = tmp_path / "small"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(mount)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        unavailable("a small file system cannot be mounted here")
    yield mount
    subprocess.run(["umount", str(mount)], check=True)


def test_counts_go_into_the_files_when_space_is_back(small: Path) -> None:
    """Values that were kept in memory are not lost, and a worker recovers by itself."""
    done = subprocess.run(
        [sys.executable, "-c", SPACE_IS_BACK, str(small)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = samples_in(small, ("s0",))
    assert found["app_total", frozenset()] == 3
    requests = [value for (name, _), value in found.items() if name == "ivatar_requests_total"]
    assert sorted(requests) == [1, 1, 2]
    assert found["ivatar_requests_in_progress", frozenset()] == 1


def test_a_start_without_space_is_refused(small: Path) -> None:
    """The message names the folder and the size that is needed; nothing of the attempt is left."""
    settings = Settings.from_env({})
    check_space(small, settings)
    exporting = Settings.from_env({"OTEL_EXPORT_ENABLED": "true", "OTEL_LOGS_EXPORTER": "otlp"})
    with pytest.raises(SettingsError, match=r"no space for the 2304 KiB"):
        check_space(small, exporting)
    (small / "filler").write_bytes(bytes(100 << 10))
    with pytest.raises(SettingsError, match=r"DIR='.*/small': no space for the 256 KiB"):
        check_space(small, settings)
    assert [each.name for each in small.iterdir()] == ["filler"]


def test_values_move_when_their_files_are_removed(tmp_path: Path, value_seam: Book) -> None:
    """Counters, gauges and histograms of a removed folder go on in the new one."""
    folder = tmp_path / "folder"
    folder.mkdir()
    value_seam.open(folder, "s0")
    use_instruments(1)
    before = samples_in(folder, ("s0",))
    shutil.rmtree(folder)
    folder.mkdir()
    value_seam.move(folder, "s1")
    assert samples_in(folder, ("s1",)) == {
        (name, frozenset((key, "s1" if key == "pid" else value) for key, value in labels)): value
        for (name, labels), value in before.items()
    }


def test_values_whose_file_is_still_there_do_not_move(tmp_path: Path, value_seam: Book) -> None:
    """Where only some files were removed, nothing is counted twice."""
    value_seam.open(tmp_path, "s0")
    use_instruments(1)
    before = samples_in(tmp_path, ("s0", "s1"))
    (tmp_path / "counter_s0.db").unlink()
    value_seam.move(tmp_path, "s1")
    after = samples_in(tmp_path, ("s0", "s1"))
    for name in ("c_total", "h_sum", "s_sum", "h_bucket"):
        assert [v for k, v in after.items() if k[0] == name] == [
            v for k, v in before.items() if k[0] == name
        ]


LABELS = ("GET", "200", "/", "", "", "", "")
CALLS = [
    pytest.param(lambda metrics: metrics.started(0.0), IN_PROGRESS.name, {}, id="started"),
    pytest.param(
        lambda metrics: metrics.count(INTERNAL_ERRORS, "finish"),
        "avatar_telemetry_internal_errors_total", {"where": "finish"}, id="count",
    ),
    pytest.param(
        lambda metrics: metrics.internal_error("store"),
        "avatar_telemetry_internal_errors_total", {"where": "store"}, id="internal-error",
    ),
    pytest.param(
        lambda metrics: metrics.observe(FIRST_BYTE, 1.0, "/"),
        f"{FIRST_BYTE.name}_sum", {"path": "/"}, id="observe",
    ),
    pytest.param(
        lambda metrics: metrics.timed(REQUESTS, DURATION, 1.0, LABELS[:3]),
        f"{DURATION.name}_sum", dict(zip(DURATION.labels, LABELS, strict=False)), id="timed",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("call", "sample", "labels"), CALLS)
def test_a_count_that_waits_for_a_move_goes_into_the_new_files(
    tmp_path: Path,
    opened: tuple[Book, Metrics],
    call: Callable[[Metrics], None],
    sample: str,
    labels: dict[str, str],
) -> None:
    """Another thread moves the values while this one waits for the lock; all cells are known."""
    book, metrics = opened
    call(metrics)
    metrics.abandoned()
    metrics.abandoned()
    before = samples_in(tmp_path, ("s0",))[sample, frozenset(labels.items())]
    book.on_next_use(lambda: move(book, metrics, tmp_path))
    call(metrics)
    after = samples_in(tmp_path, ("s1",))[sample, frozenset(labels.items())]
    assert after - before == 1.0


def test_a_request_that_ends_after_a_move_is_counted(
    tmp_path: Path, opened: tuple[Book, Metrics]
) -> None:
    """Its plan was found before the move, and is remembered after it."""
    book, metrics = opened
    metrics.started(0.0)
    metrics.started(0.0)
    plan = metrics.plan(LABELS)
    book.on_next_use(lambda: move(book, metrics, tmp_path))
    metrics.finished(plan, 1.0, 1.0)
    metrics.finished(plan, 1.0, 1.0)
    samples = samples_in(tmp_path, ("s1",))
    labels = frozenset(zip(REQUESTS.labels, LABELS, strict=False))
    assert samples[f"{REQUESTS.name}_total", labels] == 2
    assert samples[IN_PROGRESS.name, frozenset()] == 0


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[tuple[Book, Metrics]]:
    book = Book()
    book.open(tmp_path, "s0")
    yield book, Metrics(book, 10**6)
    book.detach()


def move(book: Book, metrics: Metrics, folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    book.move(folder, "s1")
    metrics.renew()


def test_a_gauge_that_moves_replaces_that_of_the_last_holder(tmp_path: Path) -> None:
    """Its value and its time stay what they were, whatever the files of the new slot hold."""
    key = encode_key("g", "g", {}, "")
    last, book = Book(), Book()
    last.open(tmp_path, "s1")
    book.open(tmp_path, "s0")
    for each, value, stamp in ((last, 5.0, 100.0), (book, 2.0, 200.0)):
        doubles, index = each.cell("gauge_mostrecent", key)
        doubles[index], doubles[index + 1] = value, stamp
    last.detach()
    (tmp_path / "gauge_mostrecent_s0.db").unlink()
    book.move(tmp_path, "s1")
    doubles, index = book.cell("gauge_mostrecent", key)
    assert (doubles[index], doubles[index + 1]) == (2.0, 200.0)
    book.detach()
