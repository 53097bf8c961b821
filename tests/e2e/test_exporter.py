"""SIGKILL of workers, exporter and master: no span of an answered request is lost."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.exporter_process import (
    SPANS_EACH,
    Requests,
    arrived,
    counted,
    exporter,
    exporters,
    sending,
    times,
)
from tests.support.gunicorn_server import GunicornServer, Load, Serve, eventually, is_running
from tests.support.otlp_sink import OtlpSink
from tests.support.rows import WORKER_CLASSES, by_default, rows

IDLE = 10
"""Seconds of gunicorn's worker timeout: an orphan looks for its master in half of that."""
KILLS = 4
BATCH = 64


def kill_worker(server: GunicornServer) -> None:
    workers = server.await_workers(2)
    victim = random.choice(workers)
    server.signal(signal.SIGKILL, victim)
    server.await_workers(2, without=[victim])


def kill_exporter(server: GunicornServer) -> None:
    victim = exporter(server)
    os.kill(victim, signal.SIGKILL)
    exporter(server, without=victim)


def kill_both(server: GunicornServer) -> None:
    workers, victim = server.await_workers(2), exporter(server)
    for pid in (workers[0], victim):
        os.kill(pid, signal.SIGKILL)
    exporter(server, without=victim)
    server.await_workers(2, without=workers[:1])


KILL = [
    pytest.param(kill_worker, id="worker"),
    pytest.param(kill_exporter, id="exporter"),
    pytest.param(kill_both, id="both"),
]


@pytest.mark.parametrize("kill", by_default("both", KILL))
@pytest.mark.parametrize("worker_class", by_default("sync", WORKER_CLASSES))
def test_killed_under_load(
    serve: Serve, sink: OtlpSink, worker_class: str, kill: Callable[[GunicornServer], None]
) -> None:
    """Every span of an answered request arrives, twice only what was under way at a kill."""
    # There is room for all that two clients can send until the next exporter reads.
    room = {"OTEL_BSP_MAX_QUEUE_SIZE": "500000", "AVATAR_TELEMETRY_RING_SIZE": str(1 << 26)}
    env = sending(sink.url, OTEL_BSP_MAX_EXPORT_BATCH_SIZE=str(BATCH), **room)
    server = serve("answers:application", worker_class=worker_class, env=env)
    requests = Requests(server)
    exporter(server)
    with Load(requests, clients=2) as load:
        for _ in range(KILLS):
            load.await_more(random.randint(10, 200))
            kill(server)
        load.await_more(20)
    requests.await_all(sink)
    kills = 0 if kill is kill_worker else KILLS
    assert_exact(server, sink, kills=kills)
    assert zombies(server) == []


def assert_exact(server: GunicornServer, sink: OtlpSink, *, kills: int = 0) -> None:
    """Nothing came twice but one batch for each kill; the counts are those of the sink."""
    came = times(sink)
    assert max(came.values()) <= 1 + kills
    assert came.total() - len(came) <= kills * BATCH
    eventually(lambda: counted(server).get("exported", 0) >= len(came), what="the count")
    counts = counted(server)
    assert set(counts) == {"exported"}
    assert counts["exported"] <= times(sink).total()
    assert kills or counts["exported"] == times(sink).total()


def zombies(server: GunicornServer) -> list[int]:
    """Children of the server's processes that nobody waits for."""
    found = []
    parents = {*server.everybody(), *exporters(server.runtime_folder)}
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        try:
            state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[:2]
        except OSError:
            continue
        if state == "Z" and int(parent) in parents:
            found.append(pid)
    return found


@pytest.mark.parametrize("killed", by_default("everything", rows("master", "everything")))
def test_killed_server_leaves_nothing(serve: Serve, sink: OtlpSink, killed: str) -> None:
    """Nothing outlives a server that was killed, and its port is free at once."""
    server = serve("answers:application", env=sending(sink.url), timeout=IDLE)
    folder = server.runtime_folder
    requests = Requests(server)
    requests.send(20)
    everybody = [*server.everybody(), exporter(server)]
    for pid in everybody if killed == "everything" else [server.pid]:
        os.kill(pid, signal.SIGKILL)
    server.wait()
    eventually(lambda: not any(map(is_running, everybody)), what="the end of all processes")
    assert exporters(folder) == []
    if killed == "master":
        assert requests.missing(sink) == set()
        assert set(times(sink).values()) == {1}
    following = serve("answers:application", name="following", bind=server.bound)
    assert following.get("/").status == 200
    assert not folder.exists()


def test_exporter_inherits_nothing(serve: Serve, sink: OtlpSink) -> None:
    """It has the lock, its own pipe and sockets, and the server's output; no terminal, no port."""
    server = serve("answers:application", env=sending(sink.url))
    (listener,) = (
        os.readlink(f"/proc/{server.pid}/fd/{each}") for each in inheritable_sockets(server.pid)
    )
    Requests(server).send(3)
    running = exporter(server)
    folder = server.runtime_folder
    opened = [
        os.readlink(f"/proc/{running}/fd/{each}")
        for each in sorted(os.listdir(f"/proc/{running}/fd"), key=int)
    ]
    assert opened[:3] == ["/dev/null", str(server.path / "log"), str(server.path / "log")]
    assert listener not in opened
    others = {each for each in opened[3:] if not each.startswith(("socket:", "anon_inode:"))}
    assert {Path(each).parent for each in others} <= {folder}
    assert str(folder / "exporter.lock") in others
    assert {Path(each).name for each in others} <= {"exporter.lock", "exporter.wake"} | {
        each.name for each in folder.glob("*_exporter.db")
    } | {each.name for each in folder.glob("*.ring")}
    status = Path(f"/proc/{running}/status").read_text()
    assert "PPid:\t1\n" in status
    assert f"NSsid:\t{server.pid}\n" not in status


def inheritable_sockets(pid: int) -> list[str]:
    """The descriptors of sockets that a program executed by a process would have."""
    found = []
    for each in os.listdir(f"/proc/{pid}/fd"):
        flags = int(
            Path(f"/proc/{pid}/fdinfo/{each}").read_text().split("flags:\t")[1].split()[0], 8
        )
        if os.readlink(f"/proc/{pid}/fd/{each}").startswith("socket:") and not flags & os.O_CLOEXEC:
            found.append(each)
    return found


def test_dead_collector_loses_nothing_that_fits(serve: Serve, sink: OtlpSink) -> None:
    """What waits in the rings arrives when the collector is back, over kills of both sides."""
    sink.stop()
    server = serve("answers:application", env=sending(sink.url))
    requests = Requests(server)
    requests.send(50)
    kill_both(server)
    requests.send(50)
    sink.start()
    requests.await_all(sink)
    assert_exact(server, sink)


def test_full_ring_drops_the_newest_and_counts_them(serve: Serve, sink: OtlpSink) -> None:
    """Exported and dropped spans are together all that were made."""
    sink.stop()
    env = sending(sink.url, AVATAR_TELEMETRY_RING_SIZE="65536")
    server = serve("answers:application", workers=1, env=env)
    requests = Requests(server)
    made = 400
    requests.send(made)
    assert len(requests.answered) == made
    sink.start()
    eventually(lambda: sum(counted(server).values()) == made * SPANS_EACH, what="all spans")
    counts = counted(server)
    assert set(counts) == {"exported", "dropped"}
    assert counts["exported"] == len(arrived(sink)) == len(times(sink))
    missing = requests.missing(sink)
    assert counts["dropped"] == len(missing) * SPANS_EACH
    assert missing == set(range(made - len(missing) + 1, made + 1))
