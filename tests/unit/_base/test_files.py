"""Files that are opened safely: regular ones, in their place."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from avatar_telemetry._base.files import acting_as, lock_own, open_own
from tests.support.descriptors import open_below
from tests.support.forked import in_child

NOBODY = 65_534


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


class Identity:
    """The ids of a process, and the order of their changes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, uid: int) -> None:
        self.ids = {"uid": uid, "gid": 0}
        self.changes: list[tuple[str, int]] = []
        for name in self.ids:
            monkeypatch.setattr(os, f"gete{name}", lambda name=name: self.ids[name])
            monkeypatch.setattr(os, f"sete{name}", lambda value, name=name: self._set(name, value))

    def _set(self, name: str, value: int) -> None:
        if name == "gid" and self.ids["uid"] != 0:
            raise PermissionError("only root may change its group")
        self.ids[name] = value
        self.changes.append((name, value))


def test_root_acts_as_the_workers_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Group first and user last, back in the other order, whatever happens in between."""
    identity = Identity(monkeypatch, uid=0)
    with pytest.raises(ValueError, match="mine"), acting_as(NOBODY, NOBODY + 1):
        assert identity.ids == {"uid": NOBODY, "gid": NOBODY + 1}
        identity.ids["uid"] = 0  # the kernel allows the way back by the saved user id
        raise ValueError("mine")
    assert identity.ids == {"uid": 0, "gid": 0}


@pytest.mark.parametrize(("uid", "wanted"), [(0, 0), (1000, NOBODY)])
def test_nobody_else_acts_as_another(
    monkeypatch: pytest.MonkeyPatch, uid: int, wanted: int
) -> None:
    """Root that stays root, and a user who is not root, change nothing."""
    identity = Identity(monkeypatch, uid)
    with acting_as(wanted, NOBODY):
        pass
    assert identity.changes == []


def test_files_are_made_as_the_workers_user(tmp_path: Path) -> None:
    """New files belong to the workers' user; then this process has its own user again."""
    wanted = NOBODY if os.geteuid() == 0 else os.geteuid()

    def work() -> list[int]:
        before = os.geteuid(), os.getegid()
        tmp_path.chmod(0o777)
        os.chdir(tmp_path)
        with acting_as(wanted, os.getegid()):
            Path("file").touch()
        assert (os.geteuid(), os.getegid()) == before
        return [Path("file").stat().st_uid]

    assert in_child(work) == [wanted]
