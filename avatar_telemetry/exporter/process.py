"""The exporter as a process of its own: see :mod:`avatar_telemetry.exporter.bootstrap`."""

from __future__ import annotations

import logging
import os
import signal
import stat
import sys
from contextlib import suppress
from pathlib import Path
from threading import Event

from avatar_telemetry._base.errors import SettingsError
from avatar_telemetry._base.log import LOGGER
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.exporter.launch import command
from avatar_telemetry.exporter.record import Record, read_record
from avatar_telemetry.exporter.service import CHANGED, Exporter, load

FAILED = 1
"""The exit status. Never 3 or 4: gunicorn's master before 27 treats them as a failed worker's."""
FORMAT = "[%(asctime)s] [%(process)d] [%(levelname)s] avatar_telemetry exporter: %(message)s"
DATES = "%Y-%m-%d %H:%M:%S %z"
NAME = "avatar-exporter"


def run(folder: str, lock: int, uid: int, gid: int) -> None:
    """Run the exporter of a runtime directory until its server has ended.

    Args:
        folder: the runtime directory.
        lock: the descriptor of the lock that the parent has taken.
        uid: the user id to change to, where this process runs as root.
        gid: the group id to change to.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=FORMAT, datefmt=DATES)
    for name in ("urllib3", "requests"):
        logging.getLogger(name).setLevel(logging.WARNING)
    ended = Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, lambda number, frame: ended.set())
    path, reason = Path(folder), CHANGED
    code: object = None
    while reason == CHANGED:
        record = read_record(path)
        if record is None or not record.wanted:
            return  # the directory is gone, or a reload has disabled the exporter
        if code is not None and record.code != code and os.access(sys.executable, os.X_OK):
            os.set_inheritable(lock, True)
            arguments = command(folder, lock, os.getuid(), os.getgid())
            os.execve(sys.executable, arguments, dict(record.environ))  # noqa: S606 - itself
        code = record.code
        os.environ.clear()
        os.environ.update(record.environ)
        settings = _settings()
        if settings.sdk_disabled or settings.exporter in ("none", "thread"):
            return
        is_readable = os.getuid() != 0 or uid == 0 or _can_read(uid, sys.executable)
        load(settings, everything=not is_readable)
        with suppress(OSError):  # before it drops root, after which it cannot be written
            Path("/proc/self/comm").write_text(NAME, encoding="utf-8")
        _become(uid, gid)
        reason = Exporter(path, lock, settings, record, end_requested=ended, apply=_apply).run()


def _settings() -> Settings:
    try:
        return Settings.from_env(os.environ)
    except SettingsError as error:
        LOGGER.error("%s", error)
        sys.exit(FAILED)


def _apply(record: Record) -> None:
    """Set the log level of the workers."""
    LOGGER.setLevel(logging.DEBUG if record.debug else logging.INFO)


def _can_read(uid: int, path: str) -> bool:
    """Return whether a user can reach a file, by the modes of its directories for others."""
    directories = Path(os.path.realpath(path)).parents
    return all(
        each.stat().st_mode & stat.S_IXOTH or each.stat().st_uid == uid for each in directories
    )


def _become(uid: int, gid: int) -> None:
    """Drop the privileges of root: the files belong to the workers' user."""
    if os.getuid() != 0:
        return
    if uid != 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
