"""The host or container: the file system of the runtime directory, what cleans it, Kubernetes."""

from __future__ import annotations

import os
import re
import shlex
import tempfile
from collections.abc import Iterator, Mapping
from configparser import ConfigParser
from configparser import Error as ConfigError
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from avatar_telemetry.cli.checks.finding import Finding, error, good, note, select, warning
from avatar_telemetry.config.resource import resource_attributes
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.metrics.folder import base_dir

ROOT = Path("/")
"""The directory with the configuration files of the host."""
TMPFILES = ("etc/tmpfiles.d", "run/tmpfiles.d", "usr/lib/tmpfiles.d")
"""A file replaces those of the same name in later directories (tmpfiles.d(5))."""
AGED = frozenset("dDevqQC")
"""The types of lines whose age cleans a directory (tmpfiles.d(5), "Age")."""
TMPREAPER = "etc/tmpreaper.conf"
LOGIND = ("usr/lib/systemd/logind.conf", "etc/systemd/logind.conf")
SYSTEM_USERS = 1000
"""The first user id that is not of a system user (logind.conf(5), ``RemoveIPC``)."""
MEMORY = frozenset({"tmpfs", "ramfs", "hugetlbfs"})
KUBERNETES = "KUBERNETES_SERVICE_HOST"
VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - compared, not used


@dataclass(frozen=True)
class Cleaner:
    """A program that removes old files from a directory.

    Args:
        program: its name.
        source: the file of its configuration.
        age: the age of the files that it removes, as written there.
        fix: the line that excludes the directory.
    """

    program: str
    source: Path
    age: str
    fix: str


def check_host(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Check the host of this process, which must be that of the server."""
    try:
        temporary = tempfile.gettempdir()
    except OSError:
        yield error(
            "host.no_temporary",
            "no directory for temporary files is writable: the server cannot start",
            "Mount a writable /tmp, in Kubernetes an emptyDir; or set TMPDIR, such as to /dev/shm.",
        )
        return
    path = Path(settings.multiproc_dir).absolute() if settings.multiproc_dir else base_dir()
    if _is_read_only("/"):
        yield note(
            "host.read_only",
            f"the root file system is read-only; {temporary} and {path} are used",
        )
    if settings.multiproc_dir:  # the check of the directory has it for a private one
        yield from _check_file_system(path, environ)
    yield from _check_pod(settings, environ)
    for cleaner in cleaners(path):
        yield warning(
            "host.cleaner",
            f"{cleaner.program} removes files in {path} that are {cleaner.age} old"
            f" ({cleaner.source}): a server without requests loses its counts",
            f"Exclude it: {cleaner.fix}.",
        )  # fmt: skip
    if not settings.multiproc_dir and path == SHARED_MEMORY and removes_ipc(os.geteuid()):
        yield note(
            "host.remove_ipc", f"logind removes the files of user {os.geteuid()} in /dev/shm when"
            " the last session of that user ends",
            "Run the server as a system user, or set RemoveIPC=no in /etc/systemd/logind.conf.",
        )  # fmt: skip


def cleaners(path: Path) -> Iterator[Cleaner]:
    """Yield the programs of this host that remove old files below a path."""
    for source, age in _tmpfiles_ages(path):
        yield Cleaner("systemd-tmpfiles", source, age,
                      f"the line 'x {path}' in /etc/tmpfiles.d/avatar-telemetry.conf")  # fmt: skip
    source = ROOT / TMPREAPER
    values = _shell_values(source)
    # Debian's package does nothing until this line is removed.
    if values and values.get("SHOWWARNING", "").lower() != "true":
        folders = [Path(each).resolve() for each in values.get("TMPREAPER_DIRS", "/tmp").split()]  # noqa: S108
        protected = values.get("TMPREAPER_PROTECT_EXTRA", "").split()
        is_protected = any(fnmatchcase(str(path), each) for each in protected)
        if not is_protected and any(path.is_relative_to(each) for each in folders):
            yield Cleaner("tmpreaper", source, values.get("TMPREAPER_TIME", "7d"),
                          f"'{path}*' in TMPREAPER_PROTECT_EXTRA")  # fmt: skip


def removes_ipc(user: int) -> bool:
    """Return whether systemd-logind removes the shared memory of a user who has logged out."""
    if user < SYSTEM_USERS or not _has_systemd():
        return False
    value = "yes"
    for name in LOGIND:
        source = ROOT / name
        for each in (source, *sorted(source.with_suffix(".conf.d").glob("*.conf"))):
            parser = ConfigParser(interpolation=None, strict=False)
            with suppress(OSError, ConfigError, UnicodeDecodeError):
                parser.read_string(each.read_text(encoding="utf-8"))
                value = parser.get("Login", "RemoveIPC", fallback=value)
    return value.strip().lower() in ("yes", "true", "on", "1")


def file_system(path: Path, table: str) -> str:
    """Return the type of the file system of a path.

    Args:
        path: an absolute path.
        table: the content of ``/proc/self/mountinfo`` (proc(5)).
    """
    best, found = -1, ""
    for line in table.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split()
        if len(fields) < 5 or not after:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4])
        # A later mount at the same point hides an earlier one.
        if path.is_relative_to(point) and len(Path(point).parts) >= best:
            best, found = len(Path(point).parts), after.split()[0]
    return found


def _check_file_system(path: Path, environ: Mapping[str, str]) -> Iterator[Finding]:
    with suppress(OSError):
        kind = file_system(path.resolve(), Path("/proc/self/mountinfo").read_text("utf-8"))
        is_disk, in_pod = bool(kind) and kind not in MEMORY, KUBERNETES in environ
        yield from select(
            (kind in MEMORY, "good", "host.memory", f"{path} is in memory ({kind})", ""),
            (is_disk and in_pod, "warning", "host.disk",
             f"{path} is on a disk ({kind}), whose speed each request depends on",
             f"Mount an emptyDir with medium: Memory, and name a directory in it ({VARIABLE})."),
            (is_disk and not in_pod, "note", "host.disk",
             f"{path} is on a disk ({kind}), which the files are written to again and again",
             f"Name a directory in memory ({VARIABLE}), such as one below /run."),
        )  # fmt: skip


def _check_pod(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    if KUBERNETES not in environ:
        return
    instance, host = resource_attributes(settings)["service.instance.id"], os.uname().nodename
    if instance == host:
        yield good("host.pod", f"service.instance.id is the name of the pod, {instance}")
    else:
        yield note(
            "host.pod", f"service.instance.id is {instance}, the host name of the pod {host}",
            "It must differ between pods: set HOSTNAME from metadata.name (fieldRef).",
        )  # fmt: skip


def _has_systemd() -> bool:
    """Return whether systemd runs here, and not only its files are installed (sd_booted(3))."""
    return (ROOT / "run/systemd/system").is_dir()


def _is_read_only(path: str) -> bool:
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def _tmpfiles_ages(path: Path) -> Iterator[tuple[Path, str]]:
    """Yield the configuration file and the age of the line that is in force for a directory.

    That is the line of the path or of its nearest parent: a directory that has its own line is not
    cleaned with its parent (tmpfiles.d(5)).
    """
    sources = _tmpfiles() if _has_systemd() else ()
    lines = [line for source in sources for line in _tmpfiles_lines(source)]
    for parent in (path, *path.parents):
        for source, kind, pattern, age in lines:
            # A line x excludes what is below; X only the path itself.
            if not fnmatchcase(str(parent), pattern) or (kind == "X" and parent != path):
                continue
            if kind in AGED and age not in ("", "-"):
                yield source, age
            return


def _tmpfiles() -> Iterator[Path]:
    seen: set[str] = set()
    for directory in TMPFILES:
        for source in sorted((ROOT / directory).glob("*.conf")):
            if source.name not in seen:
                seen.add(source.name)
                yield source


def _tmpfiles_lines(source: Path) -> Iterator[tuple[Path, str, str, str]]:
    """Yield source, type, path and age of each line."""
    try:
        text = source.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= 2 and fields[0][0] in AGED | {"x", "X"}:
            path = fields[1].strip("\"'").rstrip("/") or "/"
            yield source, fields[0][0], path, fields[5] if len(fields) > 5 else "-"


def _shell_values(source: Path) -> dict[str, str]:
    """Return the assignments of a shell file; none where it is missing."""
    values: dict[str, str] = {}
    with suppress(OSError):
        for line in source.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.strip().partition("=")
            with suppress(ValueError):
                if name.isidentifier():
                    values[name] = " ".join(shlex.split(value, comments=True))
    return values
