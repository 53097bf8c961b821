"""SIGKILL of workers and masters: what was counted stays, what was alive is forgotten."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.gunicorn_server import (
    AVATARS,
    SHARED_MEMORY,
    Load,
    Metrics,
    Serve,
    eventually,
    recorded_masters,
    total,
)
from tests.support.rows import WORKER_CLASSES, by_default

# Answers are sent to their last byte, and the worker is killed before it can do anything more.
KILL_AFTER_SENDING = """
def post_worker_init(worker):
    import os, signal
    from gunicorn.http.wsgi import Response
    original = Response.{method}

    def then_die(self, *args):
        original(self, *args)
        if self.req.path == "{path}":
            os.kill(os.getpid(), signal.SIGKILL)

    Response.{method} = then_die
"""


def counters(metrics: Metrics) -> Metrics:
    """What must never go back."""
    suffixes = ("_total", "_count", "_bucket", "_sum")
    return {key: value for key, value in metrics.items() if key[0].endswith(suffixes)}


def assert_never_back(before: Metrics, after: Metrics) -> None:
    back = {
        key: (value, after.get(key)) for key, value in counters(before).items()
        if after.get(key, -1.0) < value
    }  # fmt: skip
    assert not back


@pytest.mark.parametrize("worker_class", by_default("gthread", WORKER_CLASSES))
def test_killed_workers_under_load(serve: Serve, worker_class: str) -> None:
    """Under load, no series goes back or below what clients saw, and no file is added."""
    server = serve(worker_class=worker_class)
    server.await_workers(2)
    with Load(lambda: server.get("/stream")) as load:
        before = server.metrics()
        for _ in range(6):
            load.await_more(10)
            victim = server.workers()[0]
            server.signal(signal.SIGKILL, victim)
            server.await_workers(2, without=[victim])
            seen = load.answered
            after = server.metrics()
            assert_never_back(before, after)
            assert total(after, "ivatar_requests_total", path="other", status_code="200") >= seen
            assert total(after, "ivatar_request_duration_seconds_count", path="other") >= seen
            assert total(after, "app_plain_total") >= seen
            before = after
    names = {path.name for path in server.runtime_folder.iterdir()}
    assert {name for name in names if name.startswith("slot-")} == {"slot-0.lock", "slot-1.lock"}
    assert {name.rpartition("_")[2] for name in names if name.endswith(".db")} <= {"s0.db", "s1.db"}
    server.await_idle()
    assert server.requests(path="other") <= load.answered + len(load.failures)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        pytest.param("close", "/stream", b"0\n1\n2\n3\n4\n", id="chunked"),
        pytest.param("write", "/avatar/abc", b"hello", id="content-length"),
    ],
)
def test_answer_counts_before_its_worker_can_die(
    serve: Serve, method: str, path: str, body: bytes
) -> None:
    """A worker killed just after the last byte by which a client knows the end has counted it."""
    server = serve(config=KILL_AFTER_SENDING.format(method=method, path=path))
    assert server.get(path).body == body
    eventually(lambda: "was sent SIGKILL" in server.log())
    assert server.requests(status_code="200") == 1


def test_busy_worker_killed(serve: Serve) -> None:
    """What a killed worker had in progress is not in progress any more, counters go on."""
    server = serve()
    server.get("/avatar/abc")
    request = server.hold()
    assert server.value("ivatar_requests_in_progress") == 1
    assert server.value("app_open") == 1
    victim = server.holder()
    server.signal(signal.SIGKILL, victim)
    request.join()
    assert request.error is not None
    server.await_workers(2, without=[victim])
    assert server.value("ivatar_requests_in_progress") == 0
    assert server.value("app_open") == 0
    assert server.value("app_plain_total") == 2
    server.await_requests(1, **AVATARS)
    assert server.requests(path="/wait") == 0


def test_in_progress_is_forgotten_before_the_next_worker(serve: Serve) -> None:
    """A dead worker's live gauges are off the page even where no worker takes its slot."""
    server = serve()
    server.await_workers(2)
    request = server.hold()
    server.signal(signal.SIGTTOU)
    server.signal(signal.SIGKILL, server.holder())
    request.join()
    workers = server.await_workers(1, without=[server.holder()])
    assert workers
    assert server.value("ivatar_requests_in_progress") == 0

    def cleared() -> bool:
        names = {path.name for path in server.runtime_folder.glob("gauge_live*.db")}
        return len({name.rpartition("_")[2] for name in names}) == 1

    eventually(cleared, what="the master's clearing")  # it hears of the death a little later


def test_application_kills_itself(serve: Serve) -> None:
    """A request that kills its worker is not counted, and harms no other count."""
    server = serve(worker_class="gthread")
    for number in range(3):
        server.get("/avatar/abc")
        server.await_requests(number + 1, **AVATARS)
        with pytest.raises(OSError):
            server.get("/die")
        eventually(server.reachable)
    server.await_workers(2)
    server.await_requests(3, **AVATARS)
    assert server.requests() == 3
    assert server.value("app_plain_total") == 6


@pytest.mark.parametrize("worker_class", by_default("sync", WORKER_CLASSES))
def test_child_of_the_application_counts_for_itself(serve: Serve, worker_class: str) -> None:
    """What a forked child counts is on the page; the request is its parent's alone."""
    server = serve(worker_class=worker_class)
    slots = len(server.slots())
    for _ in range(3):
        assert server.get("/fork").text == "forked"
    server.await_requests(3)
    metrics = server.metrics()
    assert total(metrics, "app_things_total", kind="child") == 3
    assert total(metrics, "ivatar_requests_in_progress") == 0
    assert len(server.slots()) == slots
    assert len(list(server.runtime_folder.glob("slot-*.lock"))) <= slots + 1


@pytest.mark.parametrize("worker_class", by_default("gevent", WORKER_CLASSES))
def test_master_killed(serve: Serve, worker_class: str) -> None:
    """The workers of a killed master end, and the next server removes its folder."""
    server = serve(worker_class=worker_class)
    server.get("/avatar/abc")
    folder = server.runtime_folder
    server.signal(signal.SIGKILL)
    server.wait()
    server.await_end_of_orphans()
    following = serve(name="following")
    assert not folder.exists()
    assert following.requests() == 0
    assert following.folder() != folder


def test_named_folder_of_a_killed_master(serve: Serve, tmp_path: Path) -> None:
    """A named folder is emptied by the next master where all of the last server is dead."""
    named = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "named")}
    server = serve(env=named)
    server.get("/avatar/abc")
    server.signal(signal.SIGKILL)
    server.wait()
    server.await_end_of_orphans()
    following = serve(name="following", env=named)
    assert following.requests() == 0


def test_orphans_of_a_killed_master_keep_their_slots(serve: Serve, tmp_path: Path) -> None:
    """A server that starts while workers of a dead master are busy takes none of their slots."""
    named = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "named")}
    server = serve(env=named)
    request = server.hold()
    orphan = server.holder()
    slot = next(slot for slot, pid in server.slots().items() if pid == orphan)
    server.signal(signal.SIGKILL)
    server.wait()
    following = serve(name="following", env=named)
    slots = following.slots()
    assert slots[slot] == orphan
    assert set(following.workers()) < set(slots.values())
    server.let_go()
    request.join()
    server.await_end_of_orphans()
    following.await_requests(1, path="/wait")


def test_folder_of_a_live_master_is_left_alone(serve: Serve) -> None:
    """A server that starts removes only what the dead have left."""
    server = serve()
    server.get("/avatar/abc")
    folder = server.runtime_folder
    following = serve(name="following")
    following.close()
    assert folder.exists()
    server.await_requests(1)
    ours = [each for each in SHARED_MEMORY.glob("avatar-*") if server.pid in recorded_masters(each)]
    assert ours == [folder]


def test_processor_time_never_goes_back(serve: Serve) -> None:
    """The processor time of killed workers stays in the sum."""
    server = serve()
    with Load(lambda: server.get("/avatar/abc")):
        before = server.value("process_cpu_seconds_total")
        for _ in range(4):
            victim = server.workers()[0]
            server.signal(signal.SIGKILL, victim)
            server.await_workers(2, without=[victim])
            after = server.value("process_cpu_seconds_total")
            assert after >= before
            before = after
