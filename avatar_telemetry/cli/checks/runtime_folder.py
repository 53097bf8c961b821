"""The runtime folder: where it would be, who uses it, and whether there is room."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from avatar_telemetry.cli.checks.finding import Finding, error, good, note, warning
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.scrape.process import read_stat, start_time
from avatar_telemetry.store.folder import OUR_FILES, base_folder, living_masters, served_folders
from avatar_telemetry.store.merged import MergedStore
from avatar_telemetry.store.slots import holders

# A worker's files have about 100 KB; at the ceiling of series some MB.
LITTLE_ROOM = 16 << 20
START = 30.0
"""Seconds in which the workers of a new server come up."""
VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def check_folder(settings: Settings) -> Iterator[Finding]:
    """Look at the runtime folder, without touching it."""
    if settings.multiproc_dir:
        yield from _named(Path(settings.multiproc_dir))
    else:
        yield from _private()


def _named(path: Path) -> Iterator[Finding]:
    if not os.path.exists(path):  # Path.exists() raises where it may not look
        yield from _to_be_made(path)
        return
    if not path.is_dir():
        yield error(
            "folder.no_folder", f"{VARIABLE}={path} is no folder", "Name a folder of its own."
        )
        return
    if not _may(path, os.R_OK | os.W_OK | os.X_OK):
        yield error(
            "folder.rights", f"user {os.geteuid()} cannot read and write {path}",
            "chown it to the workers' user, or run the doctor as that user (sudo -u).",
        )  # fmt: skip
        return
    if path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        yield error("folder.open", f"other users may write into {path}", f"chmod 700 {path}.")
    strange = [each.name for each in path.iterdir() if not OUR_FILES.fullmatch(each.name)]
    if strange:
        yield warning(
            "folder.shared",
            f"{path} holds files that are not the telemetry's, such as {strange[0]}",
            f"Give {VARIABLE} a folder of its own.",
        )  # fmt: skip
    yield from _room(path)
    yield from _used(path)


def _to_be_made(path: Path) -> Iterator[Finding]:
    parent = next((each for each in path.absolute().parents if os.path.exists(each)), Path("/"))
    if _may(parent, os.W_OK | os.X_OK):
        yield good("folder.to_be_made", f"{path} is made at the start")
        yield from _room(parent)
    else:
        yield error(
            "folder.rights", f"user {os.geteuid()} cannot make {path} in {parent}",
            "Make it and chown it to the workers' user.",
        )  # fmt: skip


def _private() -> Iterator[Finding]:
    base = base_folder()
    if not _may(base, os.W_OK | os.X_OK):
        yield error(
            "folder.rights",
            f"user {os.geteuid()} cannot write into {base}",
            f"Set {VARIABLE} to a folder of the workers' user.",
        )
        return
    if base != Path("/dev/shm"):  # noqa: S108 - looked at, not used
        yield warning(
            "folder.on_disk", f"there is no /dev/shm to write into: metrics are kept in {base}",
            f"Mount one, or set {VARIABLE} to a folder in memory (tmpfs).",
        )  # fmt: skip
    yield from _room(base)
    served = list(served_folders())
    for path in served:
        yield from _used(path)
    if not served:
        yield note(
            "folder.no_server", f"no server of this user runs; a new one makes a folder in {base}"
        )


def _room(path: Path) -> Iterator[Finding]:
    status = os.statvfs(path)
    free = status.f_bavail * status.f_frsize
    if free < LITTLE_ROOM or (status.f_files and not status.f_favail):
        yield warning(
            "folder.room", f"{free >> 20} MiB are free in {path}",
            "Make room (a container's /dev/shm: --shm-size=256m); without it nothing is counted.",
        )  # fmt: skip


def _may(path: Path, what: int) -> bool:
    return os.access(path, what, effective_ids=True)


def _is_old(master: int) -> bool:
    """Whether its workers have had the time to come up."""
    status = read_stat(master)
    return status is not None and time.time() - start_time(status) > START


def _used(path: Path) -> Iterator[Finding]:
    masters = living_masters(path)
    if not masters:
        yield note("folder.unused", f"no server uses {path} now")
        return
    held = holders(path)
    store = MergedStore(path)
    store.read(holder.identifier for holder in held)
    held = [holder for holder in held if holder.worker]
    yield good(
        "folder.used",
        f"{path}: master {', '.join(map(str, masters))}, {len(held)} workers in slots"
        f" {', '.join(str(holder.slot) for holder in held) or 'none'}",
    )
    if not held and _is_old(masters[-1]):
        yield warning(
            "folder.no_slot", f"no worker of master {masters[-1]} holds a slot",
            "Does gunicorn.conf.py import all five hooks, and do its workers come up?",
        )  # fmt: skip
    if store.unreadable:
        yield warning(
            "folder.unreadable", f"{store.unreadable} files of {path} cannot be read",
            "Their counts are missing; is the folder shared with another program?",
        )  # fmt: skip
