"""The pipe that wakes the exporter."""

from __future__ import annotations

import os
import stat
import threading
import time
from pathlib import Path

import pytest

from avatar_telemetry.exporter.wake import FILE_NAME, Waker, Wakeup, make_pipe, wake
from tests.support.descriptors import open_below
from tests.support.waiting import DEADLINE


def test_a_writer_ends_the_wait(tmp_path: Path) -> None:
    """A wait ends early where a writer wakes, also before it begins; many calls are one."""
    wakeup, waker = Wakeup(tmp_path), Waker(tmp_path)
    assert not wakeup.wait(0)
    for _ in range(3):
        waker()
    assert wakeup.wait(DEADLINE)
    assert not wakeup.wait(0)
    thread = threading.Timer(0.05, waker)
    thread.start()
    assert wakeup.wait(DEADLINE)
    thread.join()
    wake(tmp_path)
    assert wakeup.wait(DEADLINE)
    waker.close()
    wakeup.close()
    assert open_below(tmp_path) == []


def test_the_pipe_is_of_its_owner_alone(tmp_path: Path) -> None:
    """Whoever comes first makes it, once."""
    make_pipe(tmp_path)
    before = os.lstat(tmp_path / FILE_NAME)
    make_pipe(tmp_path)
    after = os.lstat(tmp_path / FILE_NAME)
    assert stat.S_ISFIFO(after.st_mode)
    assert after.st_mode & 0o777 == 0o600
    assert before.st_ino == after.st_ino


def test_a_full_pipe_blocks_no_writer(tmp_path: Path) -> None:
    """Without an exporter the pipe fills, and a writer goes on."""
    waker = Waker(tmp_path)
    for _ in range(70_000):
        waker()
    wakeup = Wakeup(tmp_path)
    assert wakeup.wait(0)
    waker.close()
    wakeup.close()


def put_file(path: Path) -> None:
    path.write_bytes(b"precious")


def put_link(path: Path) -> None:
    path.with_name("elsewhere").write_bytes(b"precious")
    path.symlink_to(path.with_name("elsewhere"))


@pytest.mark.parametrize("put", [put_file, put_link, Path.mkdir])
def test_something_else_in_place_of_the_pipe(tmp_path: Path, put: object) -> None:
    """The exporter comes by itself then, only later; nothing is written into what is there."""
    path = tmp_path / FILE_NAME
    put(path)  # type: ignore[operator]
    wakeup, waker = Wakeup(tmp_path), Waker(tmp_path)
    waker()
    wake(tmp_path)
    began = time.monotonic()
    assert not wakeup.wait(0.05)
    assert time.monotonic() - began >= 0.05
    if not path.is_dir():
        assert path.read_bytes() == b"precious"
    waker.close()
    wakeup.close()
    assert open_below(tmp_path) == []


def test_folder_that_is_gone(tmp_path: Path) -> None:
    """A process whose folder was removed goes on without waking."""
    waker = Waker(tmp_path / "gone")
    waker()
    waker.close()
    Wakeup(tmp_path / "gone").close()
    with pytest.raises(OSError):
        make_pipe(tmp_path / "gone")


def test_pipe_that_is_opened_again(tmp_path: Path) -> None:
    """After the folder was built anew the new pipe is written, under the same descriptor: a
    thread that is writing hits no other file."""
    waker = Waker(tmp_path)
    descriptor = waker._pipe
    (tmp_path / FILE_NAME).unlink()
    wakeup = Wakeup(tmp_path)
    waker()
    assert not wakeup.wait(0)
    waker.open(tmp_path)
    assert waker._pipe == descriptor
    assert not os.get_inheritable(descriptor)
    waker()
    assert wakeup.wait(DEADLINE)
    (tmp_path / FILE_NAME).unlink()
    (tmp_path / FILE_NAME).mkdir()
    waker.open(tmp_path)  # the old pipe stays
    assert waker._pipe == descriptor
    for each in (waker, wakeup):
        each.close()
        each.close()
    waker()
    assert open_below(tmp_path) == []


def test_pipe_that_comes_later(tmp_path: Path) -> None:
    """A writer that had no pipe opens it when there is one."""
    folder = tmp_path / "later"
    waker = Waker(folder)
    folder.mkdir()
    waker.open(folder)
    wakeup = Wakeup(folder)
    waker()
    assert wakeup.wait(DEADLINE)
    waker.close()
    wakeup.close()
