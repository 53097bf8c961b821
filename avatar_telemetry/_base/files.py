"""Open the files of the runtime directory, protected against names that another user planted.

A server's master may be root although the directory belongs to the workers' user, and a private
directory is created where every user may create one. Only a regular file at its path is opened: a
link could point to a file of root, and opening a pipe could block for ever. A file with a second
name (hard link) is refused for the same reason.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

MAX_ATTEMPTS = 5
"""Attempts to lock a file that is replaced meanwhile."""
MAX_LINKS = 40
"""Symbolic links followed in one path, as in Linux."""
# Passing through a directory does not require the permission to read it.
DIRECTORY = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
SAFE_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def open_own(path: str | Path, flags: int, mode: int = 0o600, directory: int | None = None) -> int:
    """Open a regular file that has no other name.

    Args:
        path: the path of the file; only its last part must not be a link.
        flags: the flags of ``os.open``, in addition to :data:`SAFE_FLAGS`.
        mode: the mode of a new file.
        directory: the descriptor of the directory that a relative path starts in.

    Returns:
        A descriptor that is closed when a program is executed.

    Raises:
        OSError: the file cannot be opened, is not regular, or has another name.
    """
    descriptor = os.open(path, flags | SAFE_FLAGS, mode, dir_fd=directory)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file of one name", str(path))
    return descriptor


def is_at_path(descriptor: int, path: str | Path) -> bool:
    """Return whether a descriptor refers to the file that has this path now.

    A lock on a removed file does not exclude a process that opens the path again.
    """
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except OSError:
        return False


def lock_own(
    path: str | Path, flags: int = os.O_RDWR | os.O_CREAT, mode: int = 0o600
) -> int | None:
    """Open a regular file and take an exclusive lock on it, without waiting.

    Returns:
        A descriptor of the file at this path, or ``None`` if another process holds the lock.

    Raises:
        OSError: see :func:`open_own`.
    """
    for _ in range(MAX_ATTEMPTS):
        descriptor = open_own(path, flags, mode)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                return None
            raise
        if is_at_path(descriptor, path):
            return descriptor
        os.close(descriptor)
    return None


def give_to_owner(descriptor: int, directory: Path) -> None:
    """Change the owner of a file that root has created to the owner of its directory."""
    if os.geteuid() == 0:
        owner = directory.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


@contextmanager
def acting_as(uid: int, gid: int) -> Iterator[None]:
    """Switch to the workers' user and group, so that new files belong to them."""
    was_uid, was_gid = os.geteuid(), os.getegid()
    if was_uid != 0 or uid == was_uid:
        yield
        return
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(was_uid)
        os.setegid(was_gid)


def reserve(descriptor: int, size: int) -> None:
    """Allocate the space of a file.

    A sparse file on a full file system would kill the process with SIGBUS at the first store.

    Raises:
        OSError: there is not enough space.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.ftruncate(descriptor, size)


def open_directory(path: Path, *, make: bool) -> tuple[int, bool]:
    """Open a directory, and create the missing directories on its path.

    For root, a symbolic link on the path must belong to root: another user could have planted it.
    The directory itself must not be a link for any user.

    Args:
        path: the path of the directory.
        make: whether the directory itself may be created, too, with mode 0700.

    Returns:
        A descriptor for reading, and whether the directory was created.

    Raises:
        OSError: the directory cannot be opened, or is not a directory.
    """
    parent = _open_parent(path)
    made = False
    try:
        if make:
            with suppress(FileExistsError):
                os.mkdir(path.name, 0o700, dir_fd=parent)
                made = True
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(path.name, flags, dir_fd=parent), made
    finally:
        os.close(parent)


def _open_parent(path: Path) -> int:
    links = 0
    parts = list(reversed(path.absolute().parent.parts[1:]))
    with ExitStack() as opened:
        directory = _opened("/", None, opened)
        while parts:
            name = parts.pop()
            try:
                directory = _open_below(directory, name, opened)
            except NotADirectoryError:
                target = _read_link(directory, name)
                links += 1
                if target is None or links > MAX_LINKS:
                    raise
                parts += reversed(target.relative_to("/").parts if target.root else target.parts)
                directory = _opened("/" if target.root else ".", directory, opened)
        return os.dup(directory)


def _opened(name: str, directory: int | None, opened: ExitStack) -> int:
    descriptor = os.open(name, DIRECTORY, dir_fd=directory)
    opened.callback(os.close, descriptor)
    return descriptor


def _open_below(directory: int, name: str, opened: ExitStack) -> int:
    try:
        return _opened(name, directory, opened)
    except FileNotFoundError:
        os.mkdir(name, dir_fd=directory)
        return _opened(name, directory, opened)


def _read_link(directory: int, name: str) -> Path | None:
    status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode) and (os.geteuid() != 0 or status.st_uid == 0):
        return Path(os.readlink(name, dir_fd=directory))
    return None
