"""Values that leave a removed folder, and a full one when there is space."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from avatar_telemetry.errors import SettingsError
from avatar_telemetry.startup import check_space
from avatar_telemetry.store.mapped import Book
from tests.support.real_servers import unavailable
from tests.support.samples import samples_in
from tests.unit.store.test_merged import use_instruments
from tests.unit.store.test_merged import value_seam as value_seam

SPACE_IS_BACK = """
import sys
from pathlib import Path
from avatar_telemetry.store.instruments import REQUESTS
from avatar_telemetry.store.mapped import Book, value_class
from avatar_telemetry.store.metrics import Metrics

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
metrics.started()
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
    """What was kept in memory is not lost, and a worker comes back by itself."""
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
    check_space(small)
    (small / "filler").write_bytes(bytes(100 << 10))
    with pytest.raises(SettingsError, match=r"DIR='.*/small': no space for the 256 KiB"):
        check_space(small)
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
