"""The families of a scrape: merged files, processes, gunicorn, the registry of the application."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge

from avatar_telemetry._base.files import lock_own
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.metrics import procfs as process
from avatar_telemetry.metrics.collector import Collector, Server
from avatar_telemetry.metrics.family import Family
from avatar_telemetry.metrics.mapped import Book
from avatar_telemetry.metrics.metrics import Metrics
from avatar_telemetry.metrics.procfs import listener_inodes
from avatar_telemetry.metrics.slots import EXPORTER_LOCK, Slot, claim_slot
from tests.support.waiting import eventually

Page = dict[str, Family]


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Slot]:
    """The slot of this process, a living worker of the folder."""
    slot = claim_slot(tmp_path)
    yield slot
    slot.close()


def page(folder: Path, server: Server | None = None, registry: CollectorRegistry | None = None,
         **environ: str) -> Page:  # fmt: skip
    """The families of one scrape by name."""
    families = Collector(folder, Settings.from_env(environ), server, registry).collect()
    names = [each.name for each in families]
    assert names == sorted(set(names))
    return {each.name: each for each in families}


def values(family: Family, label: str = "") -> dict[str, float]:
    """The values of a family by one of its labels."""
    names = [dict(labels).get(label, "") for labels in family.labels]
    return dict(zip(names, family.values, strict=True))


def test_busy_and_idle_workers(worker: Slot, tmp_path: Path) -> None:
    """A worker with a request in progress is busy, the others are idle."""
    book = Book()
    book.open(tmp_path, worker.identifier)
    metrics = Metrics(book, 1_000)
    other = claim_slot(tmp_path)
    server = Server(os.getpid())
    try:
        metrics.started(0.0)
        busy = page(tmp_path, server)
        assert values(busy["gunicorn_workers"], "state") == {"busy": 1.0, "idle": 1.0}
        requests = busy["gunicorn_worker_requests_in_progress"]
        assert values(requests, "worker") == {"0": 1.0, "1": 0.0}
        assert values(busy["ivatar_requests_in_progress"]) == {"": 1.0}
        assert values(busy["avatar_telemetry_slots_in_use"]) == {"": 2.0}
        metrics.abandoned()
        idle = page(tmp_path, server)
        assert values(idle["gunicorn_workers"], "state") == {"busy": 0.0, "idle": 2.0}
    finally:
        other.close()
        book.detach()


def test_child_of_the_application_is_no_worker(worker: Slot, tmp_path: Path) -> None:
    """It holds a slot, and serves no requests."""
    child = claim_slot(tmp_path, worker=False)
    try:
        seen = page(tmp_path, Server(os.getpid()))
    finally:
        child.close()
    assert values(seen["gunicorn_workers"], "state") == {"busy": 0.0, "idle": 1.0}
    assert values(seen["avatar_telemetry_slots_in_use"]) == {"": 2.0}


def test_processes_by_worker(worker: Slot, tmp_path: Path) -> None:
    """Each worker is shown by its slot, and the master beside them."""
    seen = page(tmp_path, Server(os.getppid()))
    for name in ("process_resident_memory_bytes", "process_threads", "process_start_time_seconds"):
        assert set(values(seen[name], "worker")) == {"0", "master"}
        assert min(seen[name].values) > 0
    assert "gunicorn_workers" not in page(tmp_path)


def test_nobody_lives(tmp_path: Path) -> None:
    """Without a living process the rest of the page is there."""
    seen = page(tmp_path)
    assert values(seen["avatar_telemetry_slots_in_use"]) == {"": 0.0}
    assert not [name for name in seen if name.startswith("process_")]


def test_backlog_of_listening_sockets(worker: Slot, tmp_path: Path) -> None:
    """Connections that no worker has accepted are counted over all TCP sockets."""
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as first,
        closing(socket.create_server(("127.0.0.1", 0))) as second,
        closing(socket.socket(socket.AF_UNIX)) as unix,
        closing(socket.create_connection(first.getsockname())),
        closing(socket.create_connection(first.getsockname())),
        closing(socket.create_connection(second.getsockname())),
    ):
        server = Server(os.getpid(), listener_inodes((first, second, unix)))
        # The kernel may add a connection to the queue after its client has connected.
        eventually(lambda: values(page(tmp_path, server)["gunicorn_backlog"]) == {"": 3.0})
        none = page(tmp_path, Server(os.getpid(), listener_inodes((unix,))))
        assert "gunicorn_backlog" not in none


def test_listener_that_was_closed(worker: Slot, tmp_path: Path) -> None:
    """A socket that a reload has closed costs nothing but its own number."""
    with closing(socket.create_server(("127.0.0.1", 0))) as closed:
        pass
    assert "gunicorn_backlog" not in page(tmp_path, Server(os.getpid(), listener_inodes((closed,))))


@pytest.mark.parametrize(
    ("environ", "shown"),
    [
        pytest.param({}, False, id="nothing to push"),
        pytest.param({"OTEL_EXPORT_ENABLED": "true"}, True, id="push"),
        pytest.param({"OTEL_PROMETHEUS_ENDPOINT": ":9467"}, True, id="separate port"),
    ],
)
def test_exporter_where_one_is_needed(tmp_path: Path, environ: dict[str, str], shown: bool) -> None:
    """The state of the exporter is on the page only where the settings need one."""
    name = "avatar_telemetry_exporter_up"
    seen = page(tmp_path, **environ)
    assert (name in seen) is shown
    lock = lock_own(tmp_path / EXPORTER_LOCK)
    assert lock is not None
    try:
        if shown:
            assert values(seen[name]) == {"": 0.0}
            assert values(page(tmp_path, **environ)[name]) == {"": 1.0}
    finally:
        os.close(lock)


def test_registry_of_the_application(tmp_path: Path) -> None:
    """Metrics that live in this process alone are shown, without the times of their creation."""
    registry = CollectorRegistry()
    Counter("orders", "Orders.", ["kind"], registry=registry).labels("new").inc(2)
    seen = page(tmp_path, registry=registry)
    assert values(seen["orders"], "kind") == {"new": 2.0}
    assert list(seen["orders"].names) == ["orders_total"]


def test_our_own_name_wins(tmp_path: Path) -> None:
    """A metric of the application does not replace one of ours, and no name is there twice."""
    registry = CollectorRegistry()
    Gauge("avatar_telemetry_slots_in_use", "Theirs.", registry=registry).set(99)
    seen = page(tmp_path, registry=registry)
    assert values(seen["avatar_telemetry_slots_in_use"]) == {"": 0.0}


def test_resource_is_on_the_page(tmp_path: Path) -> None:
    """The page tells of which server it is."""
    seen = page(tmp_path, HOSTNAME="here", OTEL_SERVICE_NAME="images")
    (labels,) = seen["target"].labels
    assert {"service_instance_id": "here", "service_name": "images"}.items() <= dict(labels).items()
    assert list(seen["target"].values) == [1.0]


def test_folder_that_is_gone(tmp_path: Path) -> None:
    """A scrape after the folder was removed gives what needs no folder."""
    folder = tmp_path / "gone"
    folder.mkdir()
    collector = Collector(folder, Settings.from_env({"OTEL_EXPORT_ENABLED": "true"}))
    folder.rmdir()
    seen = {each.name: each for each in collector.collect()}
    assert values(seen["avatar_telemetry_exporter_up"]) == {"": 0.0}
    assert values(seen["avatar_telemetry_slots_in_use"]) == {"": 0.0}


USED = 0.5
"""Seconds of processor time."""


def seconds(folder: Path, server: Server | None = None) -> float:
    families = Collector(folder, Settings.from_env({}), server).collect()
    (shown,) = (each for each in families if each.name == "process_cpu_seconds")
    return float(shown.values[0])


def work_and_wait(folder: Path, told: int) -> None:
    claim_slot(folder)
    while time.process_time() < USED:
        pass
    os.write(told, b"!")
    signal.pause()


def test_a_dead_worker_counts_until_its_master_has_it(worker: Slot, tmp_path: Path) -> None:
    """Between its death and the master's wait the time of a worker is not missing."""
    read, write = os.pipe()
    dying = os.fork()
    if dying == 0:
        try:
            work_and_wait(tmp_path, write)
        finally:
            os._exit(1)
    try:
        os.read(read, 1)
        living = seconds(tmp_path)
        os.kill(dying, signal.SIGKILL)
        os.waitid(os.P_PID, dying, os.WEXITED | os.WNOWAIT)
        assert seconds(tmp_path) >= living >= USED
    finally:
        os.waitpid(dying, 0)
        os.close(read)
        os.close(write)


def test_no_rounding_makes_it_go_back(
    worker: Slot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ticks that move from a worker to its master, which has waited for it, give the same sum."""
    seen = process.read_stat(os.getpid())
    assert seen is not None
    server = Server(0)

    def shown(master: int, worker: int, children: int) -> float:
        stats = {
            0: replace(seen, cpu_ticks=master, children_cpu_ticks=children),
            os.getpid(): replace(seen, cpu_ticks=worker),
        }
        monkeypatch.setattr(process, "read_stat", stats.get)
        return seconds(tmp_path, server)

    for ticks in range(40):
        at_work = shown(21, ticks, 3)
        assert at_work == shown(21, 0, ticks + 3) == (24 + ticks) / process.TICKS_PER_SECOND
