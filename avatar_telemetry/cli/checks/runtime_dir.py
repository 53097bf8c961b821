"""The runtime directory: its rights, its free space, and the servers that use it."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from avatar_telemetry.cli.checks.finding import Finding, error, good, note, select, warning
from avatar_telemetry.config.destinations import ring_signals
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.metrics.folder import OUR_FILES, base_dir, living_masters, served_dirs
from avatar_telemetry.metrics.mapped import SLOT_SIZE
from avatar_telemetry.metrics.merged import MergedStore
from avatar_telemetry.metrics.procfs import read_stat, start_time
from avatar_telemetry.metrics.slots import Holder, holders

# A worker's files have about 100 KB; with the maximum number of series some MB.
MIN_FREE = 16 << 20
MAX_START_TIME = 30.0
"""Seconds that the workers of a new server need to start."""
VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def check_runtime_dir(settings: Settings) -> Iterator[Finding]:
    """Check the runtime directory without changing it."""
    path = Path(settings.multiproc_dir)
    if not settings.multiproc_dir:
        yield from _check_private(settings)
    elif os.path.exists(path):  # Path.exists() raises without access
        yield from _check_named(settings, path)
    else:
        parent = next((each for each in path.absolute().parents if os.path.exists(each)), Path("/"))
        if _may(parent, os.W_OK | os.X_OK):
            yield good("directory.missing", f"{path} is made at the start")
            yield from _check_space(settings, parent, start=True)
        else:
            yield error("directory.rights", f"user {os.geteuid()} cannot make {path} in {parent}",
                        "Make it and chown it to the workers' user.")  # fmt: skip


def _check_named(settings: Settings, path: Path) -> Iterator[Finding]:
    if not path.is_dir():
        yield error(
            "directory.no_directory", f"{VARIABLE}={path} is not a directory", "Name a directory."
        )
        return
    if not _may(path, os.R_OK | os.W_OK | os.X_OK):
        yield error(
            "directory.rights", f"user {os.geteuid()} cannot read and write {path}",
            "chown it to the workers' user, or run the doctor as that user (sudo -u).",
        )  # fmt: skip
        return
    if path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        yield error("directory.open", f"other users can write to {path}", f"chmod 700 {path}.")
    foreign = [each.name for each in path.iterdir() if not OUR_FILES.fullmatch(each.name)]
    if foreign:
        yield warning(
            "directory.shared", f"{path} has files of other programs, such as {foreign[0]}",
            f"Set {VARIABLE} to a directory of its own.",
        )  # fmt: skip
    yield from _check_space(settings, path, start=not living_masters(path))
    yield from _check_use(path)


def dirs_in_use(settings: Settings) -> list[Path]:
    """Return the runtime directories of running servers, of which this user may read the files."""
    named = [Path(settings.multiproc_dir)] if settings.multiproc_dir else served_dirs()
    return [path for path in named if _may(path, os.R_OK | os.X_OK) and living_masters(path)]


def _check_private(settings: Settings) -> Iterator[Finding]:
    base = base_dir()
    if not _may(base, os.W_OK | os.X_OK):
        yield error("directory.rights", f"user {os.geteuid()} cannot write to {base}",
                    f"Set {VARIABLE} to a directory of the workers' user.")  # fmt: skip
        return
    if base != Path("/dev/shm"):  # noqa: S108 - compared, not used
        yield warning(
            "directory.on_disk", f"metrics are kept in {base}: there is no writable /dev/shm",
            f"Mount one, or set {VARIABLE} to a directory in memory (tmpfs).",
        )  # fmt: skip
    served = list(served_dirs())
    yield from _check_space(settings, base, start=not served)
    for path in served:
        yield from _check_use(path)
    if not served:
        yield note(
            "directory.no_server",
            f"no server of this user runs; a start makes a directory in {base}",
        )


def _check_space(settings: Settings, path: Path, *, start: bool) -> Iterator[Finding]:
    """Check the free space for the files of workers: of all that start, or of one more."""
    status = os.statvfs(path)
    free, size = (number * status.f_frsize for number in (status.f_bavail, status.f_blocks))
    slot = SLOT_SIZE + settings.ring_size * len(ring_signals(settings))
    # gunicorn's own variable: its configuration file is not read.
    workers = os.environ.get("WEB_CONCURRENCY", "") if start else ""
    needed = slot * (int(workers) if workers.isdigit() else 1)
    sizes = f"{free >> 20} of {size >> 20} MiB are free in {path}, a worker needs {slot >> 10} KiB"
    scarce = free < max(MIN_FREE, needed) or bool(status.f_files and not status.f_favail)
    yield from select(
        (scarce, "warning", "directory.space", f"{sizes}; without space nothing is counted",
         "Free some space, or enlarge it (a container's /dev/shm: --shm-size=256m; Kubernetes: the"
         " sizeLimit of an emptyDir with medium: Memory)."),
        (not scarce, "good", "directory.size", sizes, ""),
    )  # fmt: skip


def _check_use(path: Path) -> Iterator[Finding]:
    held: list[Holder] = []
    with suppress(OSError):
        held = holders(path)
    store = MergedStore(path)
    store.read(holder.identifier for holder in held)
    # Last: a server that ends removes its record, then all other files.
    masters = living_masters(path)
    if not masters:
        yield note("directory.unused", f"no server uses {path} now")
        return
    slots = [str(holder.slot) for holder in held if holder.worker]
    status = read_stat(masters[-1])
    started = status is not None and time.time() - start_time(status) > MAX_START_TIME
    yield from select(
        (True, "good", "directory.used", f"{path}: master {', '.join(map(str, masters))},"
         f" {len(slots)} workers in slots {', '.join(slots) or 'none'}", ""),
        (not slots and started, "warning", "directory.no_slot",
         f"no worker of master {masters[-1]} holds a slot",
         "Check that gunicorn.conf.py imports all five hooks, and that its workers start."),
        (store.unreadable, "warning", "directory.unreadable",
         f"{store.unreadable} files of {path} are unreadable: their counts are missing",
         "Check that no other program uses the directory."),
    )  # fmt: skip


def _may(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=True)
