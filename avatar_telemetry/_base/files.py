"""Files of the runtime folder, opened so that a planted name leads nowhere.

The master of a server may be root while its folder is the workers' user's, and private folders
stand where every user may make one. So nothing is opened there but a regular file in its place: a
link could lead to a file of root's, and a pipe would wait for a reader for ever. A file of
a second name (hard link) is refused for the same reason.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import ExitStack, suppress
from pathlib import Path

ATTEMPTS = 5
"""Attempts to take a lock whose file is replaced meanwhile."""
MAX_LINKS = 40
"""Symbolic links that are followed in one path, as many as Linux follows."""
# To pass through a folder needs no right to read it.
DIRECTORY = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
SAFELY = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def open_own(path: str | Path, flags: int, mode: int = 0o600, directory: int | None = None) -> int:
    """Open a regular file that has no other name.

    Args:
        path: of the file; only its last part must not be a link.
        flags: of ``os.open``, beside those that make it safe.
        mode: of a file that is made.
        directory: descriptor of the folder that a relative path starts in.

    Returns:
        A descriptor that is closed when a program is executed.

    Raises:
        OSError: it cannot be opened, or is something else.
    """
    descriptor = os.open(path, flags | SAFELY, mode, dir_fd=directory)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file of one name", str(path))
    return descriptor


def is_at_path(descriptor: int, path: str | Path) -> bool:
    """Return whether a descriptor is of the file that has this path now.

    A lock on a file that a cleaner has removed excludes nobody who opens the path anew.
    """
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except OSError:
        return False


def lock_own(
    path: str | Path, flags: int = os.O_RDWR | os.O_CREAT, mode: int = 0o600
) -> int | None:
    """Open a regular file and take the exclusive lock on it, without waiting.

    Returns:
        A descriptor of the file at this path, or ``None`` where another process has the lock.

    Raises:
        OSError: see :func:`open_own`.
    """
    for _ in range(ATTEMPTS):
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


def give_to_owner(descriptor: int, folder: Path) -> None:
    """Give a file that root has just made to the owner of its folder, who will write it next."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def reserve(descriptor: int, size: int) -> None:
    """Take space for a file.

    A sparse file on a full file system would kill the process by SIGBUS at the first store; space
    that is reserved cannot run out later.

    Raises:
        OSError: there is none.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.ftruncate(descriptor, size)


def open_directory(path: Path, *, make: bool) -> tuple[int, bool]:
    """Open a folder, and make those on its path that are missing.

    For root, a symbolic link on the path must be root's own: another user's may have been put there
    to lead somewhere else. The folder itself must not be a link for anybody.

    Args:
        path: of the folder.
        make: whether the folder itself may be made, too, for its owner alone.

    Returns:
        A descriptor to read it with, and whether it was made.

    Raises:
        OSError: it cannot be opened, or is something else.
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
