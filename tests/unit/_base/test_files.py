"""Files that are opened safely: regular ones, in their place."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from avatar_telemetry._base.files import lock_own, open_own
from tests.support.descriptors import open_below


def test_a_file_is_made_and_opened(tmp_path: Path) -> None:
    """A new file is its owner's alone, and is closed where a program is executed."""
    descriptor = open_own(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    os.write(descriptor, b"data")
    assert os.fstat(descriptor).st_mode & 0o777 == 0o600
    assert fcntl.fcntl(descriptor, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    os.close(descriptor)
    assert (tmp_path / "file").read_bytes() == b"data"


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR | os.O_CREAT], ids=["read", "write"])
@pytest.mark.parametrize(
    "plant",
    [
        pytest.param(os.mkfifo, id="pipe"),
        pytest.param(os.mkdir, id="folder"),
        pytest.param(lambda path: path.symlink_to(path.parent / "target"), id="link"),
        pytest.param(lambda path: path.symlink_to("/nowhere/at/all"), id="dead link"),
        pytest.param(lambda path: path.symlink_to("/dev/zero"), id="link to a device"),
    ],
)
def test_what_is_no_regular_file_is_refused(
    tmp_path: Path, plant: Callable[[Path], object], flags: int
) -> None:
    """A planted name is neither followed nor waited for, and costs no descriptor."""
    (tmp_path / "target").write_bytes(b"as it was")
    path = tmp_path / "planted"
    plant(path)
    with pytest.raises(OSError):
        open_own(path, flags)
    assert open_below(tmp_path) == []
    assert (tmp_path / "target").read_bytes() == b"as it was"


def test_a_lock_that_cannot_be_taken_costs_no_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system may have no locks."""

    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(OSError, match="no locks"):
        lock_own(tmp_path / "lock")
    assert open_below(tmp_path) == []
