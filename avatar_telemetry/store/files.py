"""Files of the runtime folder, opened so that a planted name leads nowhere.

The master of a server may be root while its folder is the workers' user's, and private folders
stand where every user may make one. So nothing is opened there but a regular file in its place: a
link could lead to a file of root's, and a pipe would wait for a reader for ever.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

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
