"""Serve the demo with its telemetry under gunicorn, in the foreground; Ctrl-C ends it.

``python -m avatar_demo --workers 4 --bind 0.0.0.0:8080``: all options are gunicorn's.
"""

import os
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent

if __name__ == "__main__":
    command = [
        sys.executable, "-m", "gunicorn", "--chdir", str(REPOSITORY),
        "-c", str(REPOSITORY / "gunicorn.conf.py"), *sys.argv[1:],
    ]  # fmt: skip
    os.execv(sys.executable, command)  # noqa: S606 - signals are for gunicorn itself
