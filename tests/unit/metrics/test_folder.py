"""The runtime folder: who uses it, what of it is removed and when, and what is left alone."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from avatar_telemetry._base.errors import SettingsError
from avatar_telemetry._base.files import lock_own, open_own
from avatar_telemetry.exporter.continuity import Continuity
from avatar_telemetry.metrics import folder as folder_module
from avatar_telemetry.metrics.folder import (
    KEY_BYTES,
    LAYOUT,
    PREFIX,
    RuntimeDir,
    base_dir,
    living_masters,
    open_runtime_dir,
    served_dirs,
)
from avatar_telemetry.metrics.mapped import MappedFile
from avatar_telemetry.metrics.slots import EXPORTER_LOCK, claim_slot, clear_dead_gauges, holders
from tests.support.descriptors import open_below
from tests.support.forked import in_child


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Private folders are made here."""
    monkeypatch.setattr(folder_module, "base_dir", lambda: tmp_path)
    return tmp_path


def open_here(named: str = "", upgrades: int = 0):
    return open_runtime_dir(named, upgrades, os.geteuid(), os.getegid())


def test_a_private_folder_comes_and_goes(base: Path) -> None:
    """It is for its owner alone, and goes with its only user."""
    runtime = open_here()
    assert runtime.path.parent == base
    assert runtime.path.name.startswith(PREFIX)
    assert runtime.path.stat().st_mode & 0o777 == 0o700
    (runtime.path / "counter_0.db").touch()
    runtime.release()
    assert not runtime.path.exists()


def test_a_named_folder_is_emptied_of_our_files_only(base: Path) -> None:
    """The start removes the files of a dead server of ours, and not those of others."""
    named = base / "named"
    named.mkdir()
    others = ["counter_0.db.old", "notes.txt", "x.db"]
    rings = ["spans-0.ring", "spans-10.ring.new", "spans-1.ring.corrupt", "traces_s0.exemplars",
             "labels_s1.exemplars.corrupt"]  # fmt: skip
    for name in ("counter_0.db", "slot-0.lock", "gauge_livesum_3.db", *rings, *others):
        (named / name).touch()
    runtime = open_here(str(named))
    assert sorted(path.name for path in named.iterdir()) == sorted([*others, "folder.lock"])
    runtime.release()
    assert named.exists()


def test_a_named_folder_is_one_servers(base: Path) -> None:
    """The error of a second server names the first, and no descriptor is kept; an upgrade joins."""
    runtime = open_here(str(base / "named"))

    def join() -> list[str]:
        with pytest.raises(SettingsError) as refused:
            open_here(str(base / "named"))
        assert "the runtime directory is in use" in str(refused.value)
        assert f"process {os.getppid()} uses this one" in str(refused.value)
        left = open_below(base)
        open_here(str(base / "named"), os.getppid())
        return left

    assert in_child(join) == ["named/folder.lock"], "the parent's own, inherited"
    runtime.release()


def test_an_upgrade_joins_the_folder_of_the_old_master(base: Path) -> None:
    """The new master finds the old one's private folder; it goes with the last of the two."""
    runtime = open_here()
    (runtime.path / "counter_0.db").touch()

    def upgrade() -> None:
        joined = open_here("", os.getppid())
        assert joined.path == runtime.path
        assert (joined.since, joined.key) == (runtime.since, runtime.key)
        assert (joined.path / "counter_0.db").exists()
        joined.release()

    in_child(upgrade)
    assert (runtime.path / "counter_0.db").exists()
    runtime.release()
    assert not runtime.path.exists()


def test_counting_begins_with_the_first_user(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upgrade in place is no new beginning; a server that starts after it is one."""
    now = [1000.0]
    monkeypatch.setattr(folder_module.time, "time", lambda: now[0])
    named = str(base / "named")
    first = open_here(named)
    now[0] = 2000.0
    second = open_here(named, os.getpid())
    assert (first.since, second.since) == (1000.0, 1000.0)
    assert second.key == first.key
    assert len(first.key) == KEY_BYTES
    first.release()
    second.release()
    third = open_here(named)
    assert third.since == 2000.0
    assert third.key != first.key
    third.release()


def test_an_upgrade_starts_anew_where_the_record_cannot_be_read(base: Path) -> None:
    """A damaged record costs its own content; the folder can be used all the same."""
    named = base / "named"
    first = open_here(str(named))
    (named / "folder.lock").write_text("[")
    second = open_here(str(named), os.getpid())
    assert second.since >= first.since
    assert living_masters(named) == [os.getpid()]
    second.release()
    first.release()


def test_an_upgrade_joins_no_folder_of_another_layout(base: Path) -> None:
    """A new version that writes its files otherwise begins in a folder of its own."""
    first = open_here()
    lock = first.path / "folder.lock"
    lock.write_text(json.dumps(json.loads(lock.read_text()) | {"layout": LAYOUT + 1}))
    second = open_here("", os.getpid())
    assert second.path != first.path
    second.release()
    first.release()


def test_the_last_to_leave_removes_the_folder(base: Path) -> None:
    """While another server uses the directory, its files stay."""
    first = open_here()
    second = open_here("", os.getpid())
    (first.path / "counter_0.db").touch()
    first.release()
    assert (second.path / "counter_0.db").exists()
    second.release()
    assert not second.path.exists()


def test_a_named_folder_is_emptied_at_the_end(base: Path) -> None:
    """It stays, with what others have put into it."""
    runtime = open_here(str(base / "named"))
    for name in (
        "counter_0.db",
        "slot-0.lock",
        "exporter.lock",
        "observer.lock",
        "pushed.state",
        "notes.txt",
    ):
        (runtime.path / name).touch()
    (runtime.path / "counter_1.db").mkdir()
    runtime.release()
    left = sorted(path.name for path in runtime.path.iterdir())
    assert left == ["counter_1.db", "folder.lock", "notes.txt"]


def test_folders_in_use_are_found(base: Path) -> None:
    """A command finds the folders of servers that run, with the pids of their masters."""
    runtime = open_here()
    (base / f"{PREFIX}empty").mkdir()
    assert list(served_dirs()) == [runtime.path]
    assert living_masters(runtime.path) == [os.getpid()]
    assert living_masters(base / "nowhere") == []
    runtime.release()
    assert list(served_dirs()) == []


def test_the_key_is_not_shown(base: Path) -> None:
    """Hashes of personal data rest on it, so no log shows it."""
    runtime = open_here()
    assert runtime.key.hex() not in repr(runtime)
    assert repr(runtime.key) not in repr(runtime)
    runtime.release()


def test_private_folders_are_in_memory_if_they_can_be(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where /dev/shm cannot be written, they are with the temporary files."""
    monkeypatch.setattr(folder_module.os, "access", lambda path, mode: False)
    monkeypatch.setattr(folder_module.tempfile, "gettempdir", lambda: str(tmp_path))
    assert base_dir() == tmp_path


def test_the_folder_of_a_dead_server_is_removed_by_the_next(base: Path) -> None:
    """Nothing piles up, and the folder of a living server stays."""

    def abandon() -> None:
        open_here()  # the child ends without releasing it

    in_child(abandon)
    (dead,) = base.glob(PREFIX + "*")
    living = open_here()
    assert not dead.exists()
    second = open_here()
    assert living.path.exists()
    living.release()
    second.release()
    assert not list(base.glob(PREFIX + "*"))


def test_a_stranger_s_folder_is_left_alone(base: Path) -> None:
    """A folder without our record, or a link with our name, is nobody's business."""
    (base / f"{PREFIX}odd").mkdir()
    (base / f"{PREFIX}link").symlink_to("/etc")
    open_here().release()
    assert (base / f"{PREFIX}odd").exists()
    assert (base / f"{PREFIX}link").is_symlink()


@pytest.fixture
def victim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that nothing of ours may touch."""
    path = tmp_path_factory.mktemp("elsewhere") / "victim"
    path.write_text("as it was")
    return path


NOBODY = 65_534
DEAD = [[os.getpid(), 1]]
"""The record of a process with a pid that another one has now."""


@pytest.fixture
def stranger(base: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Makes a private folder of a user who is neither root, whom this process takes itself for,
    nor the workers' own."""

    def make(**record: Any) -> Path:
        path = base / f"{PREFIX}stranger"
        path.mkdir()
        (path / "folder.lock").write_text(json.dumps({"layout": LAYOUT, **record}))
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)
        else:
            monkeypatch.setattr(os, "geteuid", lambda: 0)
        return path

    return make


def open_as_root(upgrades: int = 0) -> RuntimeDir:
    return open_runtime_dir("", upgrades, 0, os.getegid())


def test_an_upgrade_joins_no_folder_of_a_stranger(base: Path, stranger) -> None:
    """Anybody can write down that a master uses his folder; root does not go there for it."""
    path = stranger(masters=[[os.getpid(), 0]], since=0, key="")
    runtime = open_as_root(os.getpid())
    assert runtime.path != path
    runtime.release()


def test_a_dead_folder_of_a_stranger_is_left_alone(base: Path, stranger) -> None:
    """Root removes no folder that neither it nor the workers' user has made, whatever is in it."""
    path = stranger(masters=DEAD, since=0, key="")
    open_as_root().release()
    assert (path / "folder.lock").exists()


def test_a_dead_folder_of_the_workers_user_is_removed(base: Path, stranger) -> None:
    """The folder that a master of root has given to its workers goes, if that server is dead."""
    path = stranger(masters=DEAD, since=0, key="")
    open_runtime_dir("", 0, path.stat().st_uid, os.getegid()).release()
    assert not path.exists()


def test_a_linked_lock_is_not_followed(base: Path, victim: Path) -> None:
    """A user who may write into the folder cannot make a master write elsewhere."""
    named = base / "named"
    named.mkdir()
    (named / "folder.lock").symlink_to(victim)
    with pytest.raises(SettingsError, match="PROMETHEUS_MULTIPROC_DIR"):
        open_here(str(named))
    assert victim.read_text() == "as it was"


@pytest.mark.parametrize(
    "plant",
    [
        pytest.param(lambda path, victim: path.symlink_to(victim), id="link"),
        pytest.param(lambda path, victim: os.mkfifo(path), id="pipe"),
    ],
)
def test_planted_files_of_a_folder_lead_nowhere(base: Path, victim: Path, plant) -> None:
    """A link is not followed and a pipe not waited for, by whoever looks into the folder."""
    runtime = open_here()
    names = (
        "slot-0.lock",
        "exporter.lock",
        "failures.stamp",
        "pushed.state",
        "pushed.new",
        "counter_0.db",
    )
    for name in names:
        plant(runtime.path / name, victim)
    assert holders(runtime.path) == []
    clear_dead_gauges(runtime.path, os.getpid())
    for act in (
        lambda: claim_slot(runtime.path),
        lambda: lock_own(runtime.path / EXPORTER_LOCK),
        Continuity(runtime.path, 0, delta=False).load,
        lambda: MappedFile(runtime.path / "counter_0.db"),
    ):
        with pytest.raises(OSError, match=r"not a regular file|symbolic links"):
            act()
    assert victim.read_text() == "as it was"
    runtime.release()
    assert not runtime.path.exists()


def test_a_folder_of_a_pipe_holds_up_nobody(base: Path) -> None:
    """A pipe where a private folder has its record is passed over, at a start as at an upgrade."""
    odd = base / f"{PREFIX}0"
    odd.mkdir()
    os.mkfifo(odd / "folder.lock")
    assert living_masters(odd) == []
    open_here("", os.getpid()).release()
    assert odd.exists()


def test_a_named_folder_that_is_made_is_private(base: Path) -> None:
    """Nobody else may look into it; one that was there keeps the mode that its owner gave it."""
    runtime = open_here(str(base / "made"))
    assert runtime.path.stat().st_mode & 0o777 == 0o700
    runtime.release()
    (base / "given").mkdir(mode=0o750)
    runtime = open_here(str(base / "given"))
    assert runtime.path.stat().st_mode & 0o777 == 0o750
    runtime.release()


def test_a_folder_whose_server_is_just_starting_is_left_alone(base: Path) -> None:
    """Between the making of a folder and the record of its master it looks abandoned."""
    young = base / f"{PREFIX}young"
    young.mkdir()
    (young / "folder.lock").touch()
    open_here().release()
    assert (young / "folder.lock").exists()


def test_a_folder_that_cannot_be_is_a_settings_error(base: Path) -> None:
    """The message names the variable."""
    (base / "file").touch()
    with pytest.raises(SettingsError, match="PROMETHEUS_MULTIPROC_DIR"):
        open_here(str(base / "file" / "below"))


def test_a_removed_lock_is_replaced_by_a_held_one(base: Path) -> None:
    """Other servers are refused, the record is kept, and no program inherits the lock."""
    runtime = open_here(str(base / "named"))
    path = runtime.path / "folder.lock"
    path.unlink()
    assert not runtime.renew(), "the folder itself was still there"
    assert runtime.is_locked
    with path.open() as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert living_masters(runtime.path) == [os.getpid()]
    assert not os.get_inheritable(runtime.lock)
    assert open_below(base) == ["named/folder.lock"]
    runtime.release()


def test_a_removed_folder_is_made_anew_for_its_owner_alone(base: Path) -> None:
    """It is reported as removed, and is as private as the one before."""
    runtime = open_here()
    (runtime.path / "folder.lock").unlink()
    runtime.path.rmdir()
    assert runtime.renew()
    assert runtime.path.stat().st_mode & 0o777 == 0o700
    assert not runtime.renew()
    runtime.release()


def test_the_folder_of_a_newer_server_is_not_taken_back(base: Path) -> None:
    """A server whose lock was removed leaves the folder to the next one that has taken it."""
    first = open_here(str(base / "named"))
    lock = first.path / "folder.lock"
    lock.unlink()
    second = open_here(str(base / "named"))
    record = lock.read_bytes()
    with pytest.raises(OSError, match="another server uses the directory"):
        first.renew()
    with pytest.raises(OSError, match="another server uses the directory"):
        first.release()
    assert second.is_locked
    assert lock.read_bytes() == record
    assert open_below(base) == ["named/folder.lock"]
    second.release()


def test_a_lock_that_is_removed_while_it_is_taken_is_taken_again(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock on a file without a name would exclude nobody."""
    opened: list[str] = []

    def open_and_remove(path: str, flags: int, **options: Any) -> int:
        descriptor = open_own(path, flags, **options)
        if not opened:
            (base / "named" / path).unlink()
        opened.append(path)
        return descriptor

    monkeypatch.setattr(folder_module, "open_own", open_and_remove)
    runtime = open_here(str(base / "named"))
    assert len(opened) == 2
    assert runtime.is_locked
    assert open_below(base) == ["named/folder.lock"]
    monkeypatch.undo()
    runtime.release()


def test_files_look_young_without_a_change_of_their_content(base: Path) -> None:
    """A cleaner sees a recent access; the time of the last push, a modification, stays."""
    runtime = open_here()
    path = runtime.path / "pushed.state"
    path.touch()
    os.utime(path, (1000, 1000))
    runtime.renew_times()
    status = path.stat()
    assert status.st_atime > status.st_mtime == 1000
    runtime.release()
