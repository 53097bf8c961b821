"""The runtime folder against other users, other PID namespaces, and servers that end meanwhile."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from avatar_telemetry._base.errors import SettingsError
from avatar_telemetry.metrics import folder as folder_module
from avatar_telemetry.metrics.folder import PREFIX, RuntimeDir, open_runtime_dir, served_dirs
from tests.support.paths import REPOSITORY
from tests.support.requirements import unavailable
from tests.support.waiting import DEADLINE

WORKER = 65_534
STRANGER = 65_533
SECOND_SERVER = """
import os, sys
from avatar_telemetry._base.errors import SettingsError
from avatar_telemetry.metrics import folder
folder.MAX_LOCK_WAIT = 0.2
try:
    folder.open_runtime_dir(sys.argv[1], 0, os.geteuid(), os.getegid())
except SettingsError as error:
    print(os.getpid(), error)
"""


@pytest.fixture(autouse=True)
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Private folders are made here, and locks are not waited for."""
    monkeypatch.setattr(folder_module, "base_dir", lambda: tmp_path)
    monkeypatch.setattr(folder_module, "MAX_LOCK_WAIT", 0.1)
    return tmp_path


@pytest.fixture
def workers_home(tmp_path: Path) -> Path:
    """A directory of the workers' user, in which a named folder is to be."""
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, WORKER, WORKER)
    return home


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A folder of root's with files of our names."""
    path = tmp_path / "victim"
    path.mkdir()
    (path / "counter_1.db").write_text("of root")
    return path


def open_named(path: Path, uid: int = WORKER) -> RuntimeDir:
    return open_runtime_dir(str(path), 0, uid, uid)


def assert_untouched(victim: Path) -> None:
    assert victim.stat().st_uid == 0
    assert [each.name for each in victim.iterdir()] == ["counter_1.db"]


@pytest.mark.usefixtures("as_root")
def test_a_link_to_another_folder_is_refused(workers_home: Path, victim: Path) -> None:
    """A taken-over worker cannot have root give it a folder, or remove files there."""
    (workers_home / "metrics").symlink_to(victim)
    with pytest.raises(SettingsError, match="PROMETHEUS_MULTIPROC_DIR"):
        open_named(workers_home / "metrics")
    assert_untouched(victim)


@pytest.mark.usefixtures("as_root")
def test_a_link_on_the_path_must_be_of_root(workers_home: Path, victim: Path) -> None:
    """A link of the workers' user above the folder leads nowhere; one of root's is followed."""
    link = workers_home / "link"
    link.symlink_to(victim)
    os.chown(link, WORKER, WORKER, follow_symlinks=False)
    with pytest.raises(SettingsError, match="PROMETHEUS_MULTIPROC_DIR"):
        open_named(link / "metrics")
    assert_untouched(victim)
    os.chown(link, 0, 0, follow_symlinks=False)
    runtime = open_named(link / "metrics")
    assert (victim / "metrics").stat().st_uid == WORKER
    runtime.release()


@pytest.mark.usefixtures("as_root")
def test_a_folder_that_is_not_the_workers_is_refused(victim: Path) -> None:
    """A folder of another user that holds something is neither given away nor emptied."""
    with pytest.raises(SettingsError, match="belongs to user id 0"):
        open_named(victim)
    assert_untouched(victim)


@pytest.mark.usefixtures("as_root")
def test_only_what_was_made_is_given(tmp_path: Path) -> None:
    """A new folder is the workers'; an empty one of root's stays root's; theirs is used."""
    made = open_named(tmp_path / "new" / "metrics")
    assert made.path.stat().st_uid == WORKER
    assert made.path.stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "new").stat().st_uid == 0
    made.release()
    empty = tmp_path / "empty"
    empty.mkdir()
    open_named(empty).release()
    assert empty.stat().st_uid == 0
    again = open_named(tmp_path / "new" / "metrics")
    again.release()


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(
    "plant",
    [
        pytest.param(lambda lock, victim: os.link(victim / "counter_1.db", lock), id="link"),
        pytest.param(lambda lock, victim: (lock.touch(), os.chown(lock, STRANGER, 0)), id="owner"),
    ],
)
def test_a_planted_lock_is_refused(workers_home: Path, victim: Path, plant) -> None:
    """The lock has one name, and belongs to the workers' user or to the server's."""
    plant(workers_home / "folder.lock", victim)
    with pytest.raises(SettingsError, match="PROMETHEUS_MULTIPROC_DIR"):
        open_named(workers_home)
    assert (victim / "counter_1.db").read_text() == "of root"


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770])
def test_a_folder_that_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    """A file that others may have made there, such as a key or a lock, is not used."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(mode)
    with pytest.raises(SettingsError, match="other users may write into it; chmod 700"):
        open_named(shared, os.geteuid())
    assert list(shared.iterdir()) == []


@pytest.mark.parametrize("kind", [fcntl.LOCK_EX, fcntl.LOCK_SH])
def test_a_lock_of_another_process_is_waited_for_with_a_bound(tmp_path: Path, kind: int) -> None:
    """A lock that is never released costs the start, with one line, and hangs nothing."""
    named = tmp_path / "named"
    named.mkdir()
    with open(named / "folder.lock", "w") as lock:
        fcntl.flock(lock, kind)
        with pytest.raises(SettingsError, match="another process has locked it"):
            open_named(named, os.geteuid())


def test_a_lock_that_is_released_in_time_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The workers of a killed master may take a moment to end."""
    monkeypatch.setattr(folder_module, "MAX_LOCK_WAIT", DEADLINE)
    named = tmp_path / "named"
    named.mkdir()
    lock = os.open(named / "folder.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_SH)
    release = threading.Timer(0.1, os.close, [lock])
    release.start()
    open_named(named, os.geteuid()).release()
    release.join()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Path]:
    """A named folder that a server uses, with something counted in it."""
    runtime = open_named(tmp_path / "named", os.geteuid())
    (runtime.path / "counter_s0.db").touch()
    yield runtime.path
    assert (runtime.path / "counter_s0.db").exists()
    runtime.release()


def test_a_master_that_cannot_be_seen_still_holds_its_folder(
    served: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where ``/proc`` is of another PID namespace, the lock is believed."""
    monkeypatch.setattr(folder_module, "is_alive", lambda pid, started: False)
    monkeypatch.setattr(folder_module, "_pid_namespace", lambda: 1)
    with pytest.raises(SettingsError, match="another process has locked it"):
        open_named(served, os.geteuid())


@pytest.mark.usefixtures("as_root")
def test_a_server_in_another_pid_namespace(served: Path) -> None:
    """Two containers with one volume: the second one refuses to start."""
    command = ["unshare", "--pid", "--fork", "--mount-proc"]
    if subprocess.run([*command, "true"], capture_output=True).returncode != 0:
        unavailable("a PID namespace cannot be made here")
    done = subprocess.run(
        [*command, sys.executable, "-c", SECOND_SERVER, str(served)],
        capture_output=True, text=True, cwd=REPOSITORY,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1 ")
    assert f"PROMETHEUS_MULTIPROC_DIR='{served}'" in done.stdout
    assert "another process has locked it" in done.stdout


def test_a_private_folder_that_vanishes_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that ends between the listing and the look at its folder is passed over."""
    glob = Path.glob
    for number in range(3):
        (tmp_path / f"{PREFIX}{number}").mkdir()

    def list_and_lose(self: Path, pattern: str) -> list[Path]:
        found = list(glob(self, pattern))
        for path in found:
            shutil.rmtree(path)
        return found

    monkeypatch.setattr(Path, "glob", list_and_lose)
    assert list(served_dirs()) == []
    runtime = open_runtime_dir("", 0, os.geteuid(), os.getegid())
    monkeypatch.undo()
    runtime.release()


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(
    ("owner", "mode"), [(STRANGER, 0o700), (STRANGER, 0o777), (os.geteuid(), 0o777)]
)
def test_a_removed_folder_that_a_stranger_made_anew_gets_no_record(
    owner: int, mode: int, tmp_path: Path
) -> None:
    """The record has the key of the hashes."""
    folder = open_runtime_dir("", 0, os.geteuid(), os.getegid())
    shutil.rmtree(folder.path)
    folder.path.mkdir()
    folder.path.chmod(mode)
    os.chown(folder.path, owner, -1)
    (folder.path / "folder.lock").touch()
    with pytest.raises(OSError, match="another user"):
        folder.renew()
    assert (folder.path / "folder.lock").read_bytes() == b""
    shutil.rmtree(folder.path)
    folder.release()
