"""Requirements of a server of root that drops its privileges."""

from __future__ import annotations

import pwd
import subprocess
import sys

NOBODY = pwd.getpwnam("nobody")
DROP = {"user": NOBODY.pw_uid, "group": NOBODY.pw_gid}
# The interpreter may lie where nobody cannot read (/root): what is imported late comes early.
IMPORT_EARLY = """
import encodings.idna, encodings.latin_1, gzip, netrc, urllib.parse
import gunicorn.workers.sync, gunicorn.workers.gthread, gunicorn.workers.ggevent
import gevent.monkey, gevent.threadpool, gevent.ares, gevent.resolver.thread
"""


def can_start_python() -> bool:
    """Return whether the user nobody may run this interpreter, which may be below /root."""
    try:
        return subprocess.run([sys.executable, "-c", ""], user=NOBODY.pw_uid).returncode == 0
    except PermissionError:
        return False
