"""The metrics of a scrape: the merged store, and the statistics of the living processes."""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from avatar_telemetry._base.log import LOGGER
from avatar_telemetry._base.version import VERSION
from avatar_telemetry.config.destinations import sends
from avatar_telemetry.config.resource import resource_attributes, target_labels
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.metrics import procfs as process
from avatar_telemetry.metrics.family import (
    Family,
    Labels,
    family,
)
from avatar_telemetry.metrics.instruments import IN_PROGRESS
from avatar_telemetry.metrics.merged import MergedStore
from avatar_telemetry.metrics.procfs import TICKS_PER_SECOND
from avatar_telemetry.metrics.slots import Holder, has_exporter, holders, last_holders

if TYPE_CHECKING:
    from prometheus_client.registry import Collector as ClientCollector

MASTER = "master"
CONFLICT = (
    "metric %s has another declaration than before: %d series of the older one are left out until a"
    " restart"
)


@dataclass(frozen=True)
class Server:
    """The gunicorn server.

    Args:
        master: the pid of the master.
        listeners: the inodes of the listening TCP sockets.
    """

    master: int
    listeners: tuple[int, ...] = ()


class Collector:
    """A collector of all metrics of the page.

    Args:
        folder: the runtime directory.
        settings: the settings, for the resource.
        server: the gunicorn server, or ``None``.
        registry: the application's metrics of this process alone, for names that the store does
            not have.
    """

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        server: Server | None = None,
        registry: ClientCollector | None = None,
    ) -> None:
        self._folder = folder
        self.server = server
        self._registry = registry
        self._store = MergedStore(folder)
        # Looked up in the worker: gevent may have patched it since our import.
        self._lock = threading.Lock()
        self._wants_exporter = sends(settings)
        self._registry_failed = False
        self._conflicting: set[str] = set()
        self._fixed = (_build_info(), _target_info(settings))

    def collect(self) -> list[Family]:
        """Return all families, each name once, in the order of names."""
        with self._lock:
            alive = self._read(holders)
            merged = self._store.read(holder.identifier for holder in alive)
            families = [*merged, *self._fixed, *self._own(alive), *self._processes(alive)]
            if self.server:
                families += self._gunicorn(self.server, alive)
            families += self._registered()
            self._warn_of_conflicts()
        # A metric of the application may have the name of another one: the first is kept.
        unique = {each.name: each for each in reversed(families)}
        return [unique[name] for name in sorted(unique)]

    def _read(self, read: Callable[[Path], list[Holder]]) -> list[Holder]:
        try:
            return read(self._folder)
        except OSError:
            return []  # the directory was removed

    def _own(self, alive: list[Holder]) -> Iterator[Family]:
        yield family(
            "avatar_telemetry_slots_in_use", "gauge",
            "Slots of the runtime directory held by a living process.",
            [((), float(len(alive)))],
        )  # fmt: skip
        yield family(
            "avatar_telemetry_unreadable_files", "gauge",
            "Files in the runtime directory that this scrape could not read.",
            [((), float(self._store.unreadable))],
        )  # fmt: skip
        yield family(
            "avatar_telemetry_conflicting_series", "gauge",
            "Series in the runtime directory that cannot be merged with the newest declaration.",
            [((), float(sum(self._store.left_out.values())))],
        )  # fmt: skip
        with suppress(OSError):  # the directory was removed
            status = os.statvfs(self._folder)
            yield family(
                "avatar_telemetry_folder_free_bytes", "gauge",
                "Free space of the runtime directory, in bytes.",
                [((), float(status.f_bavail * status.f_frsize))],
            )  # fmt: skip
        if self._wants_exporter:
            is_up = False
            with suppress(OSError):
                is_up = has_exporter(self._folder)
            yield family(
                "avatar_telemetry_exporter_up", "gauge",
                "1 where an exporter runs, which sends all recorded data and serves the port.",
                [((), float(is_up))],
            )  # fmt: skip

    def _processes(self, alive: list[Holder]) -> list[Family]:
        pids = {str(holder.slot): holder.pid for holder in alive if holder.worker}
        if self.server:
            pids[MASTER] = self.server.master
        read = [(name, pid, process.read_stat(pid)) for name, pid in pids.items()]
        stats = [(name, pid, stat) for name, pid, stat in read if stat is not None]
        if not stats:
            return []
        return [
            family(
                "process_cpu_seconds", "counter",
                "User and system time of all processes, ended workers included, in seconds.",
                [((), self._cpu_seconds())],
            ),
            _by_worker("process_resident_memory_bytes", "Resident memory in bytes.",
                       ((name, float(stat.resident)) for name, _, stat in stats)),
            _by_worker("process_virtual_memory_bytes", "Virtual memory in bytes.",
                       ((name, float(stat.virtual)) for name, _, stat in stats)),
            _by_worker("process_threads", "Threads.",
                       ((name, float(stat.threads)) for name, _, stat in stats)),
            _by_worker("process_start_time_seconds", "Start of the process since the epoch.",
                       ((name, process.start_time(stat)) for name, _, stat in stats)),
            _by_worker("process_open_fds", "Open file descriptors.",
                       ((name, process.count_open_files(pid)) for name, pid, _ in stats)),
            _by_worker("process_max_fds", "Limit of open file descriptors.",
                       ((name, process.max_open_files(pid)) for name, pid, _ in stats)),
        ]  # fmt: skip

    def _cpu_seconds(self) -> float:
        """Return the CPU time of the master and of all workers, ended ones included, in seconds.

        A worker that the master reaps between two readings would be counted twice or not at all:
        they are repeated until none was reaped in between.
        """
        if self.server is None:
            return self._workers_ticks() / TICKS_PER_SECOND
        total = 0
        for _ in range(5):
            before = process.read_stat(self.server.master)
            total = self._workers_ticks()
            master = process.read_stat(self.server.master)
            if master is None:
                break
            total += master.cpu_ticks + master.children_cpu_ticks
            if before and before.children_cpu_ticks == master.children_cpu_ticks:
                break
        return total / TICKS_PER_SECOND

    def _workers_ticks(self) -> int:
        """Return the ticks of all workers, including ended ones that were not reaped yet."""
        found = [(each, process.read_stat(each.pid)) for each in self._read(last_holders)]
        return sum(
            stat.cpu_ticks
            for holder, stat in found
            if holder.worker and stat and stat.start_ticks == holder.started
        )

    def _gunicorn(self, server: Server, alive: list[Holder]) -> Iterator[Family]:
        in_progress = self._store.by_identifier(IN_PROGRESS.prefix, IN_PROGRESS.name)
        workers = [holder for holder in alive if holder.worker]
        busy = sum(1 for holder in workers if in_progress.get(holder.identifier, 0.0) > 0)
        yield family(
            "gunicorn_workers", "gauge", "Living workers by state.",
            [
                ((("state", "busy"),), float(busy)),
                ((("state", "idle"),), float(len(workers) - busy)),
            ],
        )  # fmt: skip
        yield _by_worker(
            "gunicorn_worker_requests_in_progress", "Requests in progress in each worker.",
            ((str(each.slot), in_progress.get(each.identifier, 0.0)) for each in workers),
        )  # fmt: skip
        backlog = process.accept_queue(server.listeners)
        if backlog is not None:
            yield family(
                "gunicorn_backlog", "gauge", "Connections in the accept queues of the TCP sockets.",
                [((), float(backlog))],
            )  # fmt: skip

    def _registered(self) -> list[Family]:
        """Return the metrics of this process alone; a collector of the application that raises
        loses only those after it."""
        families: list[Family] = []
        try:
            if self._registry is not None:
                from avatar_telemetry.metrics.registered import registered_families

                families += registered_families(self._registry)
        except Exception:  # noqa: BLE001 - any error of the application's own collector
            if not self._registry_failed:
                LOGGER.exception("a collector of the application's registry failed")
            self._registry_failed = True
        return families

    def _warn_of_conflicts(self) -> None:
        for name, number in self._store.left_out.items():
            if number and name not in self._conflicting:
                self._conflicting.add(name)
                LOGGER.warning(CONFLICT, name, number)


def _by_worker(
    name: str, documentation: str, samples: Iterable[tuple[str, float | None]]
) -> Family:
    return family(
        name,
        "gauge",
        documentation,
        [((("worker", worker),), float(value)) for worker, value in samples if value is not None],
    )


def _build_info() -> Family:
    labels: Labels = (("python", platform.python_version()), ("version", VERSION))
    return family(
        "avatar_telemetry_build_info",
        "gauge",
        "Versions of package and Python; always 1.",
        [(labels, 1.0)],
    )


def _target_info(settings: Settings) -> Family:
    labels = target_labels(resource_attributes(settings))
    return family("target", "info", "Attributes of the resource.", [(labels, 1.0)])
