"""The runtime folder: where one server keeps its metric files, from its start to its end.

Who uses a folder holds a shared lock on its ``folder.lock``: the master through a descriptor that
its workers inherit. So the kernel knows, whatever dies and however, whether a folder is in use.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from avatar_telemetry.errors import SettingsError
from avatar_telemetry.scrape.process import is_alive, start_ticks
from avatar_telemetry.store.files import open_own

PREFIX = "avatar-telemetry-"
PRIVATE_NAME = re.compile(PREFIX + r"[a-z0-9_]{8}", re.ASCII)
LOCK_NAME = "folder.lock"
KEY_BYTES = 32
LONGEST_RECORD = 65_536
# The format of our own files; a server that is upgraded in place (USR2) goes on with the folder
# of the old one only if both write the same.
LAYOUT = 2
OUR_FILES = re.compile(
    r"(counter|histogram|summary|gauge_[a-z]+)_[^/]+\.db(\.corrupt)?|(slot-\d+|leader|folder)\.lock"
    r"|pushed\.(state|new)|failures\.stamp"
)


@dataclass(frozen=True)
class RuntimeFolder:
    """A folder in use by this process and its children.

    Args:
        path: absolute.
        private: made by us, so it goes with the last server that uses it.
        lock: descriptor of ``folder.lock``, which holds the shared lock.
        since: when counting began in it, in seconds since the epoch. An upgrade in place (USR2)
            goes on with what was counted, so it is no new beginning.
        key: 32 random bytes that only the users of the folder know, the same for all of them.
    """

    path: Path
    private: bool
    lock: int
    since: float
    key: bytes = field(repr=False)

    def release(self) -> None:
        """Leave the folder; the last one to leave removes our files and a private folder."""
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self.lock)
            return
        _remove(self.path, folder_too=self.private)
        os.close(self.lock)


def open_folder(named: str, upgrades: int, uid: int, gid: int) -> RuntimeFolder:
    """Find or make the folder of this server, emptied of what a dead one left.

    Args:
        named: ``PROMETHEUS_MULTIPROC_DIR`` as the operator set it, or an empty text.
        upgrades: pid of the master that this one replaces (USR2), else 0. Its folder is shared,
            so that counters go on and both masters' workers stand on one page.
        uid: the user that the workers run as.
        gid: their group.

    Raises:
        SettingsError: the named folder is another server's or cannot be used.
    """
    _remove_dead(uid)
    inherited = _folder_of(upgrades, uid) if upgrades and not named else None
    path = Path(named or inherited or _make_private()).absolute()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock, since, key = _join(path, upgrades)
        _give(path, uid, gid, follow=bool(named))
    except OSError as error:
        raise SettingsError(
            f"PROMETHEUS_MULTIPROC_DIR={str(path)!r}: {error.strerror or error}",
            what="the runtime folder cannot be used",
        ) from error
    return RuntimeFolder(path, private=not named, lock=lock, since=since, key=key)


def base_folder() -> Path:
    """Where private folders are made: in memory where there is such a place."""
    shared_memory = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a private folder in it
    usable = shared_memory.is_dir() and os.access(shared_memory, os.W_OK | os.X_OK)
    return shared_memory if usable else Path(tempfile.gettempdir())


def is_private_name(path: str) -> bool:
    """Whether a path is one that :func:`open_folder` makes, rather than one of an operator."""
    return bool(PRIVATE_NAME.fullmatch(Path(path).name)) and Path(path).parent == base_folder()


def served_folders() -> Iterator[Path]:
    """The private folders of servers that run, as far as this user may look into them."""
    for path in sorted(_private_folders()):
        if living_masters(path):
            yield path


def living_masters(path: Path) -> list[int]:
    """The pids of the masters that use a folder, the newest last; none where it is not readable."""
    try:
        lock = open_own(path / LOCK_NAME, os.O_RDONLY)
    except OSError:
        return []
    try:
        return [pid for pid, started in _masters(lock) if is_alive(pid, started)]
    finally:
        os.close(lock)


def _make_private() -> str:
    return tempfile.mkdtemp(prefix=PREFIX, dir=base_folder())


def _join(path: Path, upgrades: int) -> tuple[int, float, bytes]:
    """Take the shared lock; the first user of the folder empties it before.

    Returns:
        Its descriptor, when counting began, and the key.
    """
    lock = open_own(path / LOCK_NAME, os.O_RDWR | os.O_CREAT)
    masters: list[list[int]] = []
    since, key = time.time(), os.urandom(KEY_BYTES)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove(path, folder_too=False)
    except BlockingIOError:
        since, key = _begun(lock, since, key)
        masters = [master for master in _masters(lock) if is_alive(*master)]
        strangers = [str(pid) for pid, _ in masters if pid not in (upgrades, os.getpid())]
        if strangers:
            os.close(lock)
            raise SettingsError(
                f"PROMETHEUS_MULTIPROC_DIR={str(path)!r}: allowed is a folder of its own; process"
                f" {', '.join(strangers)} uses this one",
                what="the runtime folder is in use",
            ) from None
    masters.append([os.getpid(), start_ticks(os.getpid())])
    record = json.dumps({"masters": masters, "layout": LAYOUT, "since": since, "key": key.hex()})
    os.ftruncate(lock, 0)
    os.pwrite(lock, record.encode(), 0)
    # Turning an exclusive lock into a shared one is not atomic (flock(2)); the record that stands
    # by now keeps others from taking the folder for a dead one.
    fcntl.flock(lock, fcntl.LOCK_SH)
    return lock, since, key


def _masters(lock: int) -> list[list[int]]:
    try:
        record = json.loads(os.pread(lock, LONGEST_RECORD, 0))
        return [[int(pid), int(started)] for pid, started in record["masters"]]
    except (ValueError, KeyError, TypeError):
        return []


def _begun(lock: int, since: float, key: bytes) -> tuple[float, bytes]:
    """When counting began and the key, as the first user has recorded them."""
    try:
        record = json.loads(os.pread(lock, LONGEST_RECORD, 0))
        return float(record["since"]), bytes.fromhex(record["key"])
    except (ValueError, KeyError, TypeError):
        return since, key


def _give(path: Path, uid: int, gid: int, *, follow: bool) -> None:
    if os.geteuid() == 0 and (uid, gid) != (os.geteuid(), os.getegid()):
        os.chown(path, uid, gid, follow_symlinks=follow)


def _private_folders() -> Iterator[Path]:
    for path in base_folder().glob(PREFIX + "*"):
        status = path.lstat()
        if stat.S_ISDIR(status.st_mode) and os.geteuid() in (0, status.st_uid):
            yield path


def _folder_of(master: int, uid: int) -> str | None:
    """The private folder of a master that runs, if it writes the layout that we write.

    Not one of a user who is neither this one nor the workers' own: anybody can write a record.
    """
    for path in _private_folders():
        try:
            if path.lstat().st_uid not in (os.geteuid(), uid):
                continue
            record = json.loads(_read_record(path))
            if record["layout"] == LAYOUT and master in (pid for pid, _ in record["masters"]):
                return str(path)
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def _read_record(path: Path) -> bytes:
    lock = open_own(path / LOCK_NAME, os.O_RDONLY)
    try:
        return os.pread(lock, LONGEST_RECORD, 0)
    finally:
        os.close(lock)


def _remove_dead(uid: int) -> None:
    """Remove the private folders whose masters and workers are all gone."""
    for path in _private_folders():
        try:
            if path.lstat().st_uid in (os.geteuid(), uid):
                _remove_if_dead(path)
        except OSError:
            continue


def _remove_if_dead(path: Path) -> None:
    lock = open_own(path / LOCK_NAME, os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        masters = _masters(lock)
        # No record yet: its owner is about to write one.
        if masters and not any(is_alive(*master) for master in masters):
            _remove(path, folder_too=True)
    finally:
        os.close(lock)


def _remove(path: Path, *, folder_too: bool) -> None:
    if folder_too:
        shutil.rmtree(path)  # ours alone, whatever the application has put into it
        return
    for entry in path.iterdir():
        if OUR_FILES.fullmatch(entry.name) and entry.name != LOCK_NAME and not entry.is_dir():
            entry.unlink(missing_ok=True)
