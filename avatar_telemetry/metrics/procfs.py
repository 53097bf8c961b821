"""Statistics of a process, read from ``/proc`` (Linux; elsewhere only liveness)."""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
LISTENING = "0A"
"""``TCP_LISTEN`` in ``/proc/net/tcp``."""


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """One line of ``/proc/<pid>/stat`` (proc(5)), in clock ticks and bytes.

    Args:
        cpu_ticks: the user and system time; an integer, so that rounding never decreases a sum.
        children_cpu_ticks: the user and system time of the children that it has reaped.
        threads: the number of threads.
        start_ticks: the clock ticks from boot to its start; with the pid they identify a process.
        virtual: the virtual memory, in bytes.
        resident: the resident memory, in bytes.
        zombie: true where it has ended and was not reaped yet.
    """

    cpu_ticks: int
    children_cpu_ticks: int
    threads: int
    start_ticks: int
    virtual: int
    resident: int
    zombie: bool


def read_stat(pid: int) -> ProcessStat | None:
    """Read one process; return ``None`` where there is no such process or no ``/proc``."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            # The command name is in parentheses and may itself have parentheses.
            fields = file.read().rpartition(") ")[2].split()
    except OSError:
        return None
    return ProcessStat(
        cpu_ticks=int(fields[11]) + int(fields[12]),
        children_cpu_ticks=int(fields[13]) + int(fields[14]),
        threads=int(fields[17]),
        start_ticks=int(fields[19]),
        virtual=int(fields[20]),
        resident=int(fields[21]) * PAGE_SIZE,
        zombie=fields[0] == "Z",
    )


def start_ticks(pid: int) -> int:
    """Return the clock ticks from boot to the start of the process; 0 where unknown."""
    stat = read_stat(pid)
    return stat.start_ticks if stat else 0


def is_alive(pid: int, started: int) -> bool:
    """Return whether this process runs: the same pid and, where known, the same start."""
    stat = read_stat(pid)
    if stat is not None:
        return not stat.zombie and started in (0, stat.start_ticks)
    if os.path.exists("/proc/self/stat"):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def start_time(stat: ProcessStat) -> float:
    """Return the start of a process, in seconds since the epoch."""
    return boot_time() + stat.start_ticks / TICKS_PER_SECOND


def boot_time() -> float:
    """Return the start of the machine, in seconds since the epoch; 0.0 where unknown."""
    try:
        with open("/proc/stat", encoding="utf-8") as file:
            return next((float(line.split()[1]) for line in file if line.startswith("btime")), 0.0)
    except OSError:
        return 0.0


def count_open_files(pid: int) -> int | None:
    """Return the number of a process's open descriptors, ``None`` where it cannot be read."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return None


def max_open_files(pid: int) -> float | None:
    """Return the soft limit of open files of a process, ``None`` where it cannot be read."""
    try:
        with open(f"/proc/{pid}/limits", encoding="utf-8") as file:
            line = next(line for line in file if line.startswith("Max open files"))
    except (OSError, StopIteration):
        return None
    limit = line.split()[3]
    return float("inf") if limit == "unlimited" else float(limit)


def accept_queue(inodes: Collection[int]) -> int | None:
    """Return the number of connections in accept queues of TCP sockets, ``None`` where unknown.

    Args:
        inodes: the inodes of the sockets. In ``/proc/net/tcp`` the receive queue of a listening
            socket is its accept queue (Linux, ``net/ipv4/tcp_ipv4.c``).
    """
    found = [
        int(fields[4].partition(":")[2], 16)
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for fields in _listening(table)
        if int(fields[9]) in inodes
    ]
    return sum(found) if found else None


def listener_inodes(sockets: Iterable[socket.socket]) -> tuple[int, ...]:
    """Return the inodes of the TCP sockets among some sockets."""
    inodes = []
    for each in sockets:
        with suppress(OSError, ValueError, AttributeError):
            if each.family in (socket.AF_INET, socket.AF_INET6):
                inodes.append(os.fstat(each.fileno()).st_ino)
    return tuple(inodes)


def _listening(table: str) -> Iterator[list[str]]:
    try:
        with open(table, encoding="utf-8", errors="replace") as file:
            for line in file:
                fields = line.split()
                if fields[3] == LISTENING:
                    yield fields
    except (OSError, IndexError):
        return
