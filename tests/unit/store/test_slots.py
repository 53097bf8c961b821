"""Slots and the runtime folder: locks of real processes, freed by real deaths."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from avatar_telemetry.errors import SettingsError
from avatar_telemetry.export.continuity import Continuity
from avatar_telemetry.store import folder as folder_module
from avatar_telemetry.store.folder import PREFIX, living_masters, open_folder
from avatar_telemetry.store.mapped import MappedFile
from avatar_telemetry.store.slots import (
    claim_slot,
    clear_dead_gauges,
    holders,
    remove_live_gauges,
    try_lead,
)

FORK = multiprocessing.get_context("fork")


def hold_slot(folder: Path, tell) -> None:
    tell.send((os.getpid(), claim_slot(folder).number))
    signal.pause()


class Holders:
    """Processes that hold slots until they are killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: dict[int, multiprocessing.process.BaseProcess] = {}

    def start(self, number: int) -> dict[int, int]:
        """So many more; gives slot -> pid of the new ones."""
        # A pipe each: one that is killed while it writes into a common queue keeps its lock.
        pipes = []
        for _ in range(number):
            told, tell = FORK.Pipe(duplex=False)
            process = FORK.Process(target=hold_slot, args=(self.folder, tell))
            process.start()
            tell.close()
            self.processes[process.pid or 0] = process
            pipes.append(told)
        return {slot: pid for pid, slot in (told.recv() for told in pipes)}

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        self.processes.pop(pid).join()


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Holders]:
    started = Holders(tmp_path)
    yield started
    for pid in list(started.processes):
        started.kill(pid)


def test_slots_are_dense_and_never_shared(workers: Holders) -> None:
    """Processes that claim at the same time get the lowest numbers, each its own."""
    held = workers.start(8)
    assert sorted(held) == list(range(8))
    assert [(each.slot, each.pid) for each in holders(workers.folder)] == sorted(held.items())


def test_the_kernel_frees_the_slot_of_a_killed_process(workers: Holders) -> None:
    """The next one takes the lowest free slot; a dead holder is no holder."""
    held = workers.start(4)
    workers.kill(held[1])
    workers.kill(held[2])
    assert [each.slot for each in holders(workers.folder)] == [0, 3]
    assert sorted(workers.start(3)) == [1, 2, 4]


def test_live_gauges_are_cleared_for_the_dead_only(workers: Holders) -> None:
    """The master removes what a dead worker had in progress, and nothing of a living one."""
    held = workers.start(2)
    for slot in held:
        (workers.folder / f"gauge_livesum_{slot}.db").touch()
        (workers.folder / f"gauge_all_{slot}.db").touch()
    clear_dead_gauges(workers.folder, held[0])
    assert (workers.folder / "gauge_livesum_0.db").exists(), "it lives"
    workers.kill(held[0])
    clear_dead_gauges(workers.folder, held[0])
    left = sorted(path.name for path in workers.folder.glob("gauge*"))
    assert left == ["gauge_all_0.db", "gauge_all_1.db", "gauge_livesum_1.db"]
    remove_live_gauges(workers.folder, 1)
    assert not (workers.folder / "gauge_livesum_1.db").exists()


def test_a_slot_that_was_taken_again_is_not_cleared(workers: Holders) -> None:
    """The master may hear of a death when the next holder has already begun."""
    dead = workers.start(1)[0]
    workers.kill(dead)
    workers.start(1)
    (workers.folder / "gauge_livesum_0.db").touch()
    clear_dead_gauges(workers.folder, dead)
    assert (workers.folder / "gauge_livesum_0.db").exists()


def test_there_is_one_leader(tmp_path: Path) -> None:
    """Only one holds the lock; when it is gone, another can."""
    lock = try_lead(tmp_path)
    assert lock is not None
    assert try_lead(tmp_path) is None
    os.close(lock)
    second = try_lead(tmp_path)
    assert second is not None
    os.close(second)


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Private folders are made here."""
    monkeypatch.setattr(folder_module, "base_folder", lambda: tmp_path)
    return tmp_path


def open_here(named: str = "", upgrades: int = 0):
    return open_folder(named, upgrades, os.geteuid(), os.getegid())


def in_child(function, *args) -> int:
    """The exit status of a forked process that runs a function."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            function(*args)
            status = 0
        except SettingsError:
            status = 2
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


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
    """What a dead server of ours left goes at the start; what others left stays."""
    named = base / "named"
    named.mkdir()
    for name in ("counter_0.db", "slot-0.lock", "gauge_livesum_3.db", "notes.txt", "x.db"):
        (named / name).touch()
    runtime = open_here(str(named))
    assert sorted(path.name for path in named.iterdir()) == ["folder.lock", "notes.txt", "x.db"]
    runtime.release()
    assert named.exists()


def test_a_named_folder_is_one_servers(base: Path) -> None:
    """A second server is told who uses it."""
    runtime = open_here(str(base / "named"))
    assert in_child(open_here, str(base / "named")) == 2
    assert in_child(open_here, str(base / "named"), os.getpid()) == 0, "an upgrade joins"
    runtime.release()


def test_an_upgrade_joins_the_folder_of_the_old_master(base: Path) -> None:
    """The new master finds the old one's private folder; it goes with the last of the two."""
    runtime = open_here()
    (runtime.path / "counter_0.db").touch()

    def upgrade() -> None:
        joined = open_here("", os.getppid())
        assert joined.path == runtime.path
        assert (joined.path / "counter_0.db").exists()
        joined.release()

    assert in_child(upgrade) == 0
    assert (runtime.path / "counter_0.db").exists()
    runtime.release()
    assert not runtime.path.exists()


def test_the_folder_of_a_dead_server_is_removed_by_the_next(base: Path) -> None:
    """Nothing piles up, and the folder of a living server stays."""
    assert in_child(open_here) == 0  # ends without releasing it
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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's folder")
def test_an_upgrade_joins_no_folder_of_a_stranger(base: Path) -> None:
    """Anybody can write down that a master uses his folder; root does not go there for it."""
    stranger = base / f"{PREFIX}0"
    stranger.mkdir()
    record = {"layout": 1, "masters": [[os.getpid(), 0]], "since": 0, "key": ""}
    (stranger / "folder.lock").write_text(json.dumps(record))
    os.chown(stranger, 65_534, 65_534)
    runtime = open_here("", os.getpid())
    assert runtime.path != stranger
    runtime.release()


def test_a_linked_lock_is_not_followed(base: Path, victim: Path) -> None:
    """Who may write into the folder cannot make a master write elsewhere."""
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
        "leader.lock",
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
        lambda: try_lead(runtime.path),
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


def test_a_folder_that_cannot_be_is_a_settings_error(base: Path) -> None:
    """The message names the variable."""
    (base / "file").touch()
    with pytest.raises(SettingsError, match="PROMETHEUS_MULTIPROC_DIR"):
        open_here(str(base / "file" / "below"))
