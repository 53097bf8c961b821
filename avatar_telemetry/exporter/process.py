"""The exporter as a process of its own: see :mod:`avatar_telemetry.exporter.bootstrap`."""

from __future__ import annotations

import logging
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from avatar_telemetry.config.settings import Settings
from avatar_telemetry.errors import SettingsError
from avatar_telemetry.exporter.launch import command
from avatar_telemetry.exporter.record import read_record
from avatar_telemetry.exporter.service import CHANGED, Exporter, load
from avatar_telemetry.log import LOGGER

FAILED = 1
"""Exit status. Never 3 or 4: masters of gunicorn before 27 take them for a worker's that failed."""
FORMAT = "[%(asctime)s] [%(process)d] [%(levelname)s] avatar_telemetry exporter: %(message)s"
DATES = "%Y-%m-%d %H:%M:%S %z"
NAME = "avatar-exporter"


def run(folder: str, lock: int, uid: int, gid: int) -> None:
    """Run the exporter of a folder until its server has ended.

    Args:
        folder: the runtime folder.
        lock: descriptor of the lock that the parent has taken.
        uid: the user to become, where this process is root's.
        gid: the group.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=FORMAT, datefmt=DATES)
    for name in ("urllib3", "requests"):
        logging.getLogger(name).setLevel(logging.WARNING)
    record = read_record(Path(folder))
    if record is None:
        return  # the folder is gone
    os.environ.clear()
    os.environ.update(record.environ)
    try:
        settings = Settings.from_env(os.environ)
    except SettingsError as error:
        LOGGER.error("%s", error)
        sys.exit(FAILED)
    if settings.sdk_disabled or settings.exporter in ("none", "thread"):
        return
    load(settings)
    _become(uid, gid)
    with suppress(OSError):
        Path("/proc/self/comm").write_text(NAME, encoding="ascii")
    exporter: Exporter | None = None
    asked = False

    def ask(number: int, frame: object) -> None:
        nonlocal asked
        asked = True
        if exporter is not None:
            exporter.ask_to_end()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, ask)
    exporter = Exporter(Path(folder), lock, settings, record)
    if asked:
        exporter.ask_to_end()
    if exporter.run() == CHANGED:
        os.set_inheritable(lock, True)
        arguments = command(folder, lock, os.getuid(), os.getgid())
        with suppress(OSError):  # the user may not execute it: a worker starts the next one
            os.execve(sys.executable, arguments, os.environ)  # noqa: S606 - the same program again


def _become(uid: int, gid: int) -> None:
    """Drop the privileges of root: the files are the workers' user's."""
    if os.getuid() != 0:
        return
    if uid != 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
