"""Files of the runtime folder, opened so that a planted name leads nowhere.

The master of a server may be root while its folder is the workers' user's, and private folders
stand where every user may make one. So nothing is opened there but a regular file in its place: a
link could lead to a file of root's, and a pipe would wait for a reader for ever.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path

ATTEMPTS = 5
"""How often a lock is tried whose file is replaced meanwhile."""
SAFELY = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def open_own(path: str | Path, flags: int, mode: int = 0o600) -> int:
    """Open a regular file.

    Args:
        path: of the file; only its last part must not be a link.
        flags: of ``os.open``, beside those that make it safe.
        mode: of a file that is made.

    Returns:
        A descriptor that is closed when a program is executed.

    Raises:
        OSError: it cannot be opened, or is something else.
    """
    descriptor = os.open(path, flags | SAFELY, mode)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return descriptor


def is_at_path(descriptor: int, path: str | Path) -> bool:
    """Whether a descriptor is of the file that has this path now.

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
        except BlockingIOError:
            os.close(descriptor)
            return None
        if is_at_path(descriptor, path):
            return descriptor
        os.close(descriptor)
    return None


def give_to_owner(descriptor: int, folder: Path) -> None:
    """Give a file that root has just made to the owner of its folder, who will write it next."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
