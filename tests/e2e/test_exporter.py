"""SIGKILL of workers, exporter and master: no span of an answered request is lost."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.descriptors import open_files
from tests.support.exporter_process import (
    SPANS_EACH,
    Requests,
    arrived,
    counted,
    sending,
    times,
)
from tests.support.gunicorn_server import (
    GunicornServer,
    Load,
    Serve,
    eventually,
    exporters,
    is_running,
)
from tests.support.otlp_sink import OtlpSink
from tests.support.rows import WORKER_CLASSES, by_default, rows

KILLS = 4
BATCH = 64


def kill_worker(server: GunicornServer) -> None:
    workers = server.await_workers(2)
    victim = random.choice(workers)
    server.signal(signal.SIGKILL, victim)
    server.await_workers(2, without=[victim])


def kill_both(server: GunicornServer) -> None:
    workers, victim = server.await_workers(2), server.exporter()
    for pid in (workers[0], victim):
        os.kill(pid, signal.SIGKILL)
    server.exporter(without=victim)
    server.await_workers(2, without=workers[:1])


KILL = [
    pytest.param(kill_worker, id="worker"),
    pytest.param(GunicornServer.kill_exporter, id="exporter"),
    pytest.param(kill_both, id="both"),
]


@pytest.mark.parametrize("kill", by_default("both", KILL))
@pytest.mark.parametrize("worker_class", by_default("sync", WORKER_CLASSES))
def test_killed_under_load(
    serve: Serve, sink: OtlpSink, worker_class: str, kill: Callable[[GunicornServer], object]
) -> None:
    """Every span of an answered request arrives, twice only what was under way at a kill."""
    env = sending(sink.url, OTEL_BSP_MAX_EXPORT_BATCH_SIZE=str(BATCH))
    server = serve("answers:application", worker_class=worker_class, env=env)
    requests = Requests(server)
    server.exporter()
    with Load(requests, clients=2) as load:
        for _ in range(KILLS):
            load.await_more(random.randint(10, 200))
            kill(server)
        load.await_more(20)
    requests.await_all(sink)
    kills = 0 if kill is kill_worker else KILLS
    assert_exact(server, sink, kills=kills)
    eventually(lambda: not zombies(server), what="the wait for every child")


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
def test_killed_server_leaves_nothing(serve: Serve, sink: OtlpSink, port: int, killed: str) -> None:
    """Nothing outlives a server that was killed, and its port is free at once."""
    bind = f"127.0.0.1:{port}"
    server = serve("answers:application", env=sending(sink.url), bind=bind)
    folder = server.runtime_folder
    requests = Requests(server)
    requests.send(20)
    running = server.exporter()
    if killed == "everything":
        os.kill(running, signal.SIGKILL)
        os.killpg(server.pid, signal.SIGKILL)
    else:
        server.signal(signal.SIGKILL)
    server.wait()
    server.await_end_of_orphans()
    eventually(lambda: not is_running(running), what="the end of the exporter")
    assert exporters(folder) == []
    if killed == "master":
        assert requests.missing(sink) == set()
        assert set(times(sink).values()) == {1}
    following = serve("answers:application", name="following", bind=bind)
    assert following.get("/").status == 200
    assert not folder.exists()


def test_exporter_inherits_nothing(serve: Serve, sink: OtlpSink) -> None:
    """It has the lock, its own pipe and sockets, and the server's output; no terminal, no port."""
    server = serve("answers:application", env=sending(sink.url))
    (listener,) = inheritable_sockets(server.pid)
    Requests(server).send(3)
    running = server.exporter()
    folder, log = server.runtime_folder, str(server.path / "log")
    lock = folder / "exporter.lock"

    def has_nothing_else() -> bool:
        found = open_files(running)  # among them what it reads at this moment
        assert [found.pop(number) for number in range(3)] == ["/dev/null", log, log]
        assert listener not in found.values()
        others = (each for each in found.values() if not each.startswith(("socket:", "anon_inode")))
        own = {folder / "exporter.wake", *folder.glob("*_exporter.db"), *folder.glob("*.ring")}
        files = set(map(Path, others))
        return lock in files and files <= {lock, *own}

    eventually(has_nothing_else, what="no other open file")
    status = Path(f"/proc/{running}/status").read_text()
    assert "PPid:\t1\n" in status
    assert f"NSsid:\t{server.pid}\n" not in status


def inheritable_sockets(pid: int) -> list[str]:
    """The sockets that a program executed by a process would have."""
    found = []
    for each, target in open_files(pid).items():
        if target.startswith("socket:"):
            info = Path(f"/proc/{pid}/fdinfo/{each}").read_text()
            if not int(info.split("flags:\t")[1].split()[0], 8) & os.O_CLOEXEC:
                found.append(target)
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
