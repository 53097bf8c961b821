"""The runtime directory: the place of a server's metric files, from its start to its end.

Its users hold a shared lock on its ``folder.lock``, the master through a descriptor that its
workers inherit. So the kernel knows whether a directory is in use, however its users end.
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
IN_USE = "the runtime directory is in use"
MAX_RECORD_LENGTH = 65_536
MAX_LOCK_WAIT = 5.0
"""Seconds to wait for the lock of another process, whose workers may be about to end."""
LOCK_POLL = 0.05
# The format of our own files; a server that is upgraded in place (USR2) continues with the
# directory of the old one only where both write the same.
LAYOUT = 3
ONCE = ".once"
"""The suffix of the marker file of an action that is done once per server."""
OUR_FILES = re.compile(
    r"(counter|histogram|summary|gauge_[a-z]+)_[^/]+\.db(\.corrupt)?"
    r"|(slot-\d+|exporter|observer|folder)\.lock|exporter\.(json|wake|sock)|exporter-\d+\.new"
    r"|(spans|logs)-\d+\.ring(\.new|\.corrupt)?|pushed\.(state|new)|keep\.budget|[a-z-]+\.once"
    r"|(traces|metrics|logs)\.(error|new)"
    r"|(traces|labels)_[^/]+\.exemplars(\.corrupt)?"
)


@dataclass(frozen=True)
class RuntimeDir:
    """A runtime directory in use by this process and its children.

    Args:
        path: the absolute path.
        private: true where the package made it, and the last server that uses it removes it.
        lock: the descriptor of ``folder.lock`` with the shared lock.
        since: the start of its counts, in seconds since the epoch. An upgrade in place (USR2)
            continues the counts and does not change it.
        key: 32 random bytes that all users of the directory share, and no other process has.
        owner: the user id of the directory's owner.
        user: the user id and group id of the workers.
        opened_by: the pid of the process that opened it, the only one that releases it.
    """

    path: Path
    private: bool
    lock: int
    since: float
    key: bytes = field(repr=False)
    owner: int = field(default_factory=os.geteuid)
    user: tuple[int, int] = field(default_factory=lambda: (os.geteuid(), os.getegid()))
    opened_by: int = field(default_factory=os.getpid)

    @property
    def is_locked(self) -> bool:
        """Return whether the locked file is still at its path, and so excludes other servers."""
        return is_at_path(self.lock, self.path / LOCK_NAME)

    def renew(self) -> bool:
        """Make the directory and its lock again where they were removed.

        Returns:
            True where the directory itself was missing.

        Raises:
            OSError: the directory cannot be made, or another server uses it.
        """
        if self.is_locked:
            return False
        directory, made = open_directory(self.path, make=True)
        try:
            status = os.fstat(directory)
            # Another user may have made it: the key must not be written there.
            if _is_open(status) or status.st_uid not in (self.owner, os.geteuid()):
                raise OSError(errno.EPERM, "another user has made the directory", str(self.path))
            lock = open_own(LOCK_NAME, os.O_RDWR | os.O_CREAT, directory=directory)
        finally:
            os.close(directory)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            record, found = (os.pread(each, MAX_RECORD_LENGTH, 0) for each in (self.lock, lock))
            if found not in (b"", record):
                raise OSError(errno.EBUSY, "another server uses the directory", str(self.path))
            os.pwrite(lock, record, 0)
            os.dup2(lock, self.lock, inheritable=False)
        finally:
            os.close(lock)
        return made

    def renew_times(self) -> None:
        """Set the access times of the files: cleaners of temporary files remove old ones."""
        now = time.time_ns()
        for entry in os.scandir(self.path):
            with suppress(OSError):
                # The modification time of some of them is read.
                changed = entry.stat(follow_symlinks=False).st_mtime_ns
                os.utime(entry.path, ns=(now, changed), follow_symlinks=False)

    def release(self) -> None:
        """Release the directory; the last user removes our files and a private directory. Does
        nothing in a forked child."""
        if os.getpid() != self.opened_by:
            return
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
        # The record is removed first: a master in it is one that uses the directory.
        os.ftruncate(self.lock, 0)
        if self.private:
            shutil.rmtree(self.path)  # with files of the application, too
            return
        directory, _ = open_directory(self.path, make=False)
        try:
            _empty(directory)
        finally:
            os.close(directory)


def open_runtime_dir(
    named: str, upgrades: int, uid: int, gid: int, *, shared: bool = False
) -> RuntimeDir:
    """Find or make the directory of this server, without the files of a dead one.

    Args:
        named: the operator's ``PROMETHEUS_MULTIPROC_DIR``, or an empty text.
        upgrades: the pid of the master that this one replaces (USR2), else 0. Both share its
            directory, so that counters continue and one page has the workers of both.
        uid: the user id of the workers.
        gid: the group id of the workers.
        shared: true where other users of a named directory may be processes of the same server,
            which gunicorn's hooks did not start; the first one empties it.

    Raises:
        SettingsError: another server uses the named directory, or it cannot be used.
    """
    _remove_dead(uid)
    inherited = _dir_of(upgrades, uid) if upgrades and not named else None
    path = base_dir()
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
    return RuntimeDir(path, not named, lock, since, key, owner, (uid, gid))


def base_dir() -> Path:
    """Return the parent of private directories, in memory where possible."""
    shared_memory = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a private directory in it
    usable = shared_memory.is_dir() and os.access(shared_memory, os.W_OK | os.X_OK)
    return shared_memory if usable else Path(tempfile.gettempdir())


def is_private_name(path: str) -> bool:
    """Return whether a path is that of a private directory, not one that an operator named."""
    return bool(PRIVATE_NAME.fullmatch(Path(path).name)) and Path(path).parent == base_dir()


def served_dirs() -> Iterator[Path]:
    """Yield the private directories of running servers that this user may read."""
    for path in sorted(_private_dirs()):
        if living_masters(path):
            yield path


def counting_since(path: Path) -> float:
    """Return the start of the counts of a directory in use, in seconds since the epoch; now where
    it cannot be read."""
    try:
        return float(json.loads(_read_record(path))["since"])
    except (OSError, ValueError, KeyError, TypeError):
        return time.time()


def living_masters(path: Path) -> list[int]:
    """Return the pids of the masters that use a directory, the newest last; none where it is not
    readable."""
    try:
        lock = open_own(path / LOCK_NAME, os.O_RDONLY)
    except OSError:
        return []
    try:
        return [pid for pid, started in _masters(lock) if is_alive(pid, started)]
    finally:
        os.close(lock)


def _make_private() -> str:
    return tempfile.mkdtemp(prefix=PREFIX, dir=base_dir())


def _fault(
    path: Path, fault: str, what: str = "the runtime directory cannot be used"
) -> SettingsError:
    return SettingsError(f"PROMETHEUS_MULTIPROC_DIR={str(path)!r}: {fault}", what=what)


def _check_owner(path: Path, directory: int, uid: int, gid: int, *, made: bool) -> None:
    """Give a new directory to the workers' user; check that an existing one is safe.

    Raises:
        SettingsError: the directory belongs to another user, or others may write into it.
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
            " is not empty; name a directory of its own",
        )  # fmt: skip


def _is_open(status: os.stat_result) -> bool:
    """Return whether other users may write into a directory."""
    return bool(status.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def _join(
    path: Path, directory: int, upgrades: int, uid: int, shared: bool
) -> tuple[int, float, bytes]:
    """Take the shared lock; the first user of the directory empties it before.

    Returns:
        The descriptor, the start of the counts, and the key.
    """
    end = time.monotonic() + MAX_LOCK_WAIT
    while (joined := _try_join(path, directory, upgrades, uid, shared)) is None:
        if time.monotonic() > end:
            raise _fault(path, "another process has locked it; name a directory of its own", IN_USE)
        time.sleep(LOCK_POLL)
    return joined


def _try_join(
    path: Path, directory: int, upgrades: int, uid: int, shared: bool
) -> tuple[int, float, bytes] | None:
    """Try once to take the lock; return ``None`` where another process has it.

    The lock takes precedence over the record: ``/proc`` does not show a holder in another PID
    namespace. A living master in the record is refused at once.
    """
    lock = open_own(LOCK_NAME, os.O_RDWR | os.O_CREAT, directory=directory)
    try:
        masters = _replaced_masters(lock, path, upgrades, uid, shared)
        since, key = time.time(), os.urandom(KEY_BYTES)
        if masters or not _try_empty(lock, directory, upgrades):
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            since, key = _recorded(lock, since, key)
        masters.append([os.getpid(), start_ticks(os.getpid())])
        _write_record(lock, masters, since, key)
        # The conversion of an exclusive lock into a shared one is not atomic (flock(2)): another
        # process may have taken the directory in between, and replaced the record.
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
        SettingsError: the lock belongs to another user, or another server uses the directory.
    """
    if os.fstat(lock).st_uid not in (uid, os.geteuid()):
        raise _fault(path / LOCK_NAME, "it belongs to another user")
    masters = [master for master in _masters(lock) if is_alive(*master)]
    others = [str(pid) for pid, _ in masters if pid != upgrades and not shared]
    if others:
        raise _fault(
            path,
            f"process {', '.join(others)} uses this one; name a directory of its own",
            IN_USE,
        )
    return masters


def _try_empty(lock: int, directory: int, upgrades: int) -> bool:
    """Empty the directory as its first user; return false beside workers of a dead master, or in
    the upgrade of a server with a damaged record.

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
    """Return whether the record is of this PID namespace: masters missing in ``/proc`` are dead."""
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


def _recorded(lock: int, since: float, key: bytes) -> tuple[float, bytes]:
    """Return the start of the counts and the key that the first user has recorded."""
    try:
        record = json.loads(os.pread(lock, MAX_RECORD_LENGTH, 0))
        return float(record["since"]), bytes.fromhex(record["key"])
    except (ValueError, KeyError, TypeError):
        return since, key


def _private_dirs() -> Iterator[Path]:
    for path in base_dir().glob(PREFIX + "*"):
        try:
            status = path.lstat()
        except OSError:
            continue  # its server has ended
        if stat.S_ISDIR(status.st_mode) and os.geteuid() in (0, status.st_uid):
            yield path


def _dir_of(master: int, uid: int) -> str | None:
    """Return the private directory of a running master that uses the same layout.

    It belongs to this user or to the workers' user: any other user could write such a record.
    """
    for path in _private_dirs():
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
    """Remove the private directories whose masters and workers have all ended."""
    for path in _private_dirs():
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
        # Without a record: the owner is about to write one.
        alive = any(is_alive(*master) for master in masters)
        if masters and not alive and is_at_path(lock, path / LOCK_NAME):
            shutil.rmtree(path)
    finally:
        os.close(lock)


def _empty(directory: int) -> None:
    """Remove our files from a directory, except its lock."""
    for name in os.listdir(directory):
        if OUR_FILES.fullmatch(name) and name != LOCK_NAME:
            with suppress(FileNotFoundError, IsADirectoryError):
                os.unlink(name, dir_fd=directory)
