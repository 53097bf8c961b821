"""The runtime folder: where one server keeps its metric files, from its start to its end.

Who uses a folder holds a shared lock on its ``folder.lock``: the master through a descriptor that
its workers inherit. So the kernel knows, whatever dies and however, whether a folder is in use.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from avatar_telemetry._base.errors import SettingsError
from avatar_telemetry._base.files import is_at_path, open_directory, open_own
from avatar_telemetry.metrics.procfs import is_alive, start_ticks

PREFIX = "avatar-telemetry-"
PRIVATE_NAME = re.compile(PREFIX + r"[a-z0-9_]{8}", re.ASCII)
LOCK_NAME = "folder.lock"
KEY_BYTES = 32
IN_USE = "the runtime folder is in use"
MAX_RECORD_LENGTH = 65_536
LOCK_WAIT = 5.0
"""Seconds that another process's lock is waited for: its workers may be about to end."""
LOCK_POLL = 0.05
# The format of our own files; a server that is upgraded in place (USR2) goes on with the folder
# of the old one only if both write the same.
LAYOUT = 3
ONCE = ".once"
"""The suffix of a marker file of something that is done once for a server."""
OUR_FILES = re.compile(
    r"(counter|histogram|summary|gauge_[a-z]+)_[^/]+\.db(\.corrupt)?"
    r"|(slot-\d+|exporter|observer|folder)\.lock|exporter\.(json|wake|sock)|exporter-\d+\.new"
    r"|(spans|logs)-\d+\.ring(\.new|\.corrupt)?|pushed\.(state|new)|[a-z-]+\.once"
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
        owner: user id of the folder's owner.
    """

    path: Path
    private: bool
    lock: int
    since: float
    key: bytes = field(repr=False)
    owner: int = field(default_factory=os.geteuid)

    @property
    def is_locked(self) -> bool:
        """Return whether the lock is on the file at its path, and keeps other servers out."""
        return is_at_path(self.lock, self.path / LOCK_NAME)

    def renew(self) -> bool:
        """Make the folder and its lock anew where they were removed while this process runs.

        Returns:
            Whether the folder itself was gone.

        Raises:
            OSError: it cannot be made, or is another server's now.
        """
        if self.is_locked:
            return False
        directory, made = open_directory(self.path, make=True)
        try:
            status = os.fstat(directory)
            # Whoever was faster may have made it: the key must not get into a stranger's folder.
            if _is_open(status) or status.st_uid not in (self.owner, os.geteuid()):
                raise OSError(errno.EPERM, "another user has made the folder anew", str(self.path))
            lock = open_own(LOCK_NAME, os.O_RDWR | os.O_CREAT, directory=directory)
        finally:
            os.close(directory)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            record, found = (os.pread(each, MAX_RECORD_LENGTH, 0) for each in (self.lock, lock))
            if found not in (b"", record):
                raise OSError(errno.EBUSY, "another server uses the folder", str(self.path))
            os.pwrite(lock, record, 0)
            os.dup2(lock, self.lock, inheritable=False)
        finally:
            os.close(lock)
        return made

    def keep_young(self) -> None:
        """Keep the files from looking old to a cleaner, which goes by their times."""
        now = time.time_ns()
        for entry in os.scandir(self.path):
            with suppress(OSError):
                # The time of modification has a meaning of its own for some of them.
                changed = entry.stat(follow_symlinks=False).st_mtime_ns
                os.utime(entry.path, ns=(now, changed), follow_symlinks=False)

    def release(self) -> None:
        """Leave the folder; the last one to leave removes our files and a private folder."""
        try:
            if self.path.is_dir():
                self.renew()
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self.is_locked:
                self._remove()
        except BlockingIOError:
            return
        finally:
            os.close(self.lock)

    def _remove(self) -> None:
        # The record goes first: a master that it names is one that still uses the folder.
        os.ftruncate(self.lock, 0)
        if self.private:
            shutil.rmtree(self.path)  # ours alone, whatever the application has put into it
            return
        directory, _ = open_directory(self.path, make=False)
        try:
            _empty(directory)
        finally:
            os.close(directory)


def open_folder(
    named: str, upgrades: int, uid: int, gid: int, *, shared: bool = False
) -> RuntimeFolder:
    """Find or make the folder of this server, emptied of what a dead one left.

    Args:
        named: ``PROMETHEUS_MULTIPROC_DIR`` as the operator set it, or an empty text.
        upgrades: pid of the master that this one replaces (USR2), else 0. Its folder is shared,
            so that counters go on and both masters' workers stand on one page.
        uid: the user that the workers run as.
        gid: their group.
        shared: whether processes that use a named folder already may be of the same server, one
            whose processes are not started by gunicorn's hooks; the first one empties it.

    Raises:
        SettingsError: the named folder is another server's or cannot be used.
    """
    _remove_dead(uid)
    inherited = _folder_of(upgrades, uid) if upgrades and not named else None
    path = base_folder()
    try:
        path = Path(named or inherited or _make_private()).absolute()
        directory, made = open_directory(path, make=True)
        try:
            made = made or not (named or inherited)
            _check_owner(path, directory, uid, gid, made=made)
            owner = os.fstat(directory).st_uid
            lock, since, key = _join(path, directory, upgrades, uid, shared)
        finally:
            os.close(directory)
    except OSError as error:
        raise _fault(path, error.strerror or str(error)) from error
    return RuntimeFolder(path, not named, lock, since, key, owner)


def base_folder() -> Path:
    """Where private folders are made: in memory where there is such a place."""
    shared_memory = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a private folder in it
    usable = shared_memory.is_dir() and os.access(shared_memory, os.W_OK | os.X_OK)
    return shared_memory if usable else Path(tempfile.gettempdir())


def is_private_name(path: str) -> bool:
    """Return whether a path is one that :func:`open_folder` makes, not one of an operator."""
    return bool(PRIVATE_NAME.fullmatch(Path(path).name)) and Path(path).parent == base_folder()


def served_folders() -> Iterator[Path]:
    """The private folders of servers that run, as far as this user may look into them."""
    for path in sorted(_private_folders()):
        if living_masters(path):
            yield path


def counting_since(path: Path) -> float:
    """Return when counting began in a folder in use, in seconds since the epoch; now where that
    cannot be read."""
    try:
        return float(json.loads(_read_record(path))["since"])
    except (OSError, ValueError, KeyError, TypeError):
        return time.time()


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


def _fault(
    path: Path, fault: str, what: str = "the runtime folder cannot be used"
) -> SettingsError:
    return SettingsError(f"PROMETHEUS_MULTIPROC_DIR={str(path)!r}: {fault}", what=what)


def _check_owner(path: Path, directory: int, uid: int, gid: int, *, made: bool) -> None:
    """Give the workers' user a folder that was just made; see that an existing one is safe.

    Raises:
        SettingsError: it is another user's, or others may write into it.
    """
    if made:
        if os.geteuid() == 0 and (uid, gid) != (os.geteuid(), os.getegid()):
            os.fchown(directory, uid, gid)
        return
    status = os.fstat(directory)
    if _is_open(status):
        raise _fault(path, f"other users may write into it; chmod 700 {path}")
    if status.st_uid != uid and os.listdir(directory):
        raise _fault(
            path, f"it belongs to user id {status.st_uid}, not to the workers' user id {uid}, and"
            " is not empty; allowed is a folder of its own",
        )  # fmt: skip


def _is_open(status: os.stat_result) -> bool:
    """Return whether other users may write into a folder."""
    return bool(status.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def _join(
    path: Path, directory: int, upgrades: int, uid: int, shared: bool
) -> tuple[int, float, bytes]:
    """Take the shared lock; the first user of the folder empties it before.

    Returns:
        Its descriptor, when counting began, and the key.
    """
    end = time.monotonic() + LOCK_WAIT
    while (joined := _try_join(path, directory, upgrades, uid, shared)) is None:
        if time.monotonic() > end:
            raise _fault(
                path, "another process has locked it; allowed is a folder of its own", IN_USE
            )
        time.sleep(LOCK_POLL)
    return joined


def _try_join(
    path: Path, directory: int, upgrades: int, uid: int, shared: bool
) -> tuple[int, float, bytes] | None:
    """One attempt; ``None`` where the lock is another's.

    The lock is believed, whatever the record says: ``/proc`` does not show a holder in another PID
    namespace. Of the record only a living master counts, which is refused at once.
    """
    lock = open_own(LOCK_NAME, os.O_RDWR | os.O_CREAT, directory=directory)
    try:
        masters = _replaced_masters(lock, path, upgrades, uid, shared)
        since, key = time.time(), os.urandom(KEY_BYTES)
        if masters or not _try_empty(lock, directory, upgrades):
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            since, key = _begun(lock, since, key)
        masters.append([os.getpid(), start_ticks(os.getpid())])
        _write_record(lock, masters, since, key)
        # Turning an exclusive lock into a shared one is not atomic (flock(2)): another may have
        # taken the folder in between, and its record stands there then.
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        if is_at_path(lock, path / LOCK_NAME) and masters[-1] in _masters(lock):
            return lock, since, key
    except BlockingIOError:
        pass
    except BaseException:
        os.close(lock)
        raise
    os.close(lock)
    return None


def _replaced_masters(
    lock: int, path: Path, upgrades: int, uid: int, shared: bool
) -> list[list[int]]:
    """Return the living master that this process replaces, or the processes that it joins.

    Raises:
        SettingsError: the lock is another user's, or another server uses the folder.
    """
    if os.fstat(lock).st_uid not in (uid, os.geteuid()):
        raise _fault(path / LOCK_NAME, "it belongs to another user")
    masters = [master for master in _masters(lock) if is_alive(*master)]
    strangers = [str(pid) for pid, _ in masters if pid != upgrades and not shared]
    if strangers:
        raise _fault(
            path,
            f"allowed is a folder of its own; process {', '.join(strangers)} uses this one",
            IN_USE,
        )
    return masters


def _try_empty(lock: int, directory: int, upgrades: int) -> bool:
    """Empty the folder as its first user; false beside workers of a dead master, or where a server
    is upgraded whose record is damaged.

    Raises:
        BlockingIOError: another server has the lock.
    """
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if not (_is_of_orphans(lock) if _masters(lock) else upgrades):
            raise
        return False
    _empty(directory)
    return True


def _write_record(lock: int, masters: list[list[int]], since: float, key: bytes) -> None:
    record = {
        "masters": masters,
        "layout": LAYOUT,
        "namespace": _pid_namespace(),
        "since": since,
        "key": key.hex(),
    }
    os.ftruncate(lock, 0)
    os.pwrite(lock, json.dumps(record).encode(), 0)


def _masters(lock: int) -> list[list[int]]:
    try:
        record = json.loads(os.pread(lock, MAX_RECORD_LENGTH, 0))
        return [[int(pid), int(started)] for pid, started in record["masters"]]
    except (ValueError, KeyError, TypeError):
        return []


def _is_of_orphans(lock: int) -> bool:
    """Return whether masters that ``/proc`` does not show are dead: they are of this namespace."""
    try:
        namespace = json.loads(os.pread(lock, MAX_RECORD_LENGTH, 0))["namespace"]
    except (ValueError, KeyError, TypeError):
        return False
    return bool(namespace) and namespace == _pid_namespace()


def _pid_namespace() -> int:
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0


def _begun(lock: int, since: float, key: bytes) -> tuple[float, bytes]:
    """When counting began and the key, as the first user has recorded them."""
    try:
        record = json.loads(os.pread(lock, MAX_RECORD_LENGTH, 0))
        return float(record["since"]), bytes.fromhex(record["key"])
    except (ValueError, KeyError, TypeError):
        return since, key


def _private_folders() -> Iterator[Path]:
    for path in base_folder().glob(PREFIX + "*"):
        try:
            status = path.lstat()
        except OSError:
            continue  # its server has ended meanwhile
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
        return os.pread(lock, MAX_RECORD_LENGTH, 0)
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
        alive = any(is_alive(*master) for master in masters)
        if masters and not alive and is_at_path(lock, path / LOCK_NAME):
            shutil.rmtree(path)
    finally:
        os.close(lock)


def _empty(directory: int) -> None:
    """Remove our files from a folder, but for its lock."""
    for name in os.listdir(directory):
        if OUR_FILES.fullmatch(name) and name != LOCK_NAME:
            with suppress(FileNotFoundError, IsADirectoryError):
                os.unlink(name, dir_fd=directory)
