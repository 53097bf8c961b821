"""Harm to the runtime folder while a server runs: the application goes on, so does the page."""

from __future__ import annotations

import os
import shutil
import signal

import pytest

from tests.support.gunicorn_server import (
    AVATARS,
    GunicornServer,
    Load,
    Serve,
    eventually,
    lock_holders,
    total,
)
from tests.support.rows import WORKER_CLASSES, by_default

# A limit on the size of files stands for a full disk: space that is asked for is refused.
NO_SPACE = """
from avatar_telemetry import gunicorn as telemetry

def post_fork(server, worker):
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (32_768, 32_768))
    telemetry.post_fork(server, worker)
"""


def assert_goes_on(server: GunicornServer) -> None:
    """All routes answer, and the page does."""
    for _ in range(4):
        assert server.get("/avatar/abc").body == b"hello"
        assert server.get("/late").text == "late"
        assert server.request("POST", "/upload", b"abc").text == "3"
        assert server.get("/metrics").status == 200
    assert "Error handling request" not in server.log()


@pytest.mark.parametrize("worker_class", by_default("gthread", WORKER_CLASSES))
def test_garbage_in_the_folder(serve: Serve, worker_class: str) -> None:
    """Files that nobody can read are skipped and counted; all others are on the page."""
    server = serve(worker_class=worker_class)
    server.get("/avatar/abc")
    server.await_requests(1)
    folder = server.runtime_folder
    whole = max(folder.glob("counter_*.db"), key=lambda path: path.stat().st_size).read_bytes()
    (folder / "counter_90.db").write_bytes(b"")
    (folder / "counter_91.db").write_bytes(b"\xff" * 100)
    (folder / "counter_92.db").write_bytes(whole[:50])
    (folder / "histogram_93.db").write_bytes(os.urandom(4096))
    (folder / "strange_94.db").write_bytes(whole)
    (folder / "gauge_nothing_95.db").write_bytes(whole)
    (folder / "counter_96.db").mkdir()
    (folder / "counter_97.db").symlink_to("counter_97.db")
    os.mkfifo(folder / "counter_98.db")
    (folder / "note.txt").write_text("a file of somebody else")
    for _ in range(4):
        metrics = server.metrics()
        assert total(metrics, "ivatar_requests_total", **AVATARS) == 1
        # An empty file has just been created, and holds nothing yet.
        assert total(metrics, "avatar_telemetry_unreadable_files") == 8
    assert_goes_on(server)
    shutil.rmtree(folder / "counter_96.db")
    for name in ("note.txt", "strange_94.db", "gauge_nothing_95.db"):
        (folder / name).unlink(missing_ok=True)


def test_slot_with_a_corrupt_file(serve: Serve) -> None:
    """A worker that takes a slot with a broken file puts that aside and counts."""
    server = serve(workers=1)
    server.get("/avatar/abc")
    server.await_requests(1)
    folder = server.runtime_folder
    (before,) = server.await_workers(1)
    broken = folder / "counter_s0.db"
    broken.unlink()
    broken.write_bytes(b"\x07" * 999)
    server.signal(signal.SIGKILL, before)
    server.await_workers(1, without=[before])
    server.get("/avatar/abc")
    server.await_requests(1)
    assert (folder / "counter_s0.db.corrupt").exists()


def test_folder_removed(serve: Serve) -> None:
    """It is built anew by the workers that run, with all that they have counted; the log reports
    it once."""
    server = serve(worker_class="gthread")
    for _ in range(20):
        server.get("/avatar/abc")
    server.await_requests(20, **AVATARS)
    folder = server.runtime_folder
    server.exporter()  # one that starts would make files while others are removed
    shutil.rmtree(folder)

    def counted() -> bool:
        server.get("/late")  # each worker looks when it has something to do
        return server.requests(**AVATARS) == 20 and len(server.slots()) == 2

    eventually(counted, what="the folder")
    assert lock_holders(folder / "folder.lock")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert server.log().count("was removed while the server runs") == 1
    server.reload()
    server.get("/avatar/abc")
    server.await_requests(21, **AVATARS)
    assert_goes_on(server)
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert not folder.exists()


@pytest.mark.parametrize(
    "removed", ["folder.lock", "slot-*.lock", "counter_*.db", "histogram_*.db", "gauge_*.db"]
)
def test_files_removed(serve: Serve, removed: str) -> None:
    """Whatever a cleaner takes from the folder is back with its values, under load too."""
    server = serve(worker_class="gthread")
    folder = server.runtime_folder
    with Load(lambda: server.get("/avatar/abc")) as load:
        load.await_more(20)
        names = {path.name for path in folder.glob(removed)}
        for name in names:
            (folder / name).unlink(missing_ok=True)

        # A worker may go on in another slot, or make its first file of this kind.
        eventually(lambda: len(list(folder.glob(removed))) >= len(names), what="the files")
        load.await_more(20)
    server.await_requests(load.statuses[200], **AVATARS)
    metrics = server.metrics()
    assert lock_holders(folder / "folder.lock")
    durations = total(metrics, "ivatar_request_duration_seconds_count", path="/avatar/{id}")
    assert durations == load.answered
    assert total(metrics, "ivatar_requests_in_progress") == 0
    assert not load.failures


def test_folder_replaced_by_a_file(serve: Serve) -> None:
    """Workers that can have no folder at all serve without one."""
    server = serve()
    folder = server.runtime_folder
    before = server.await_workers(2)
    server.exporter()
    shutil.rmtree(folder)
    folder.touch()
    server.signal(signal.SIGHUP)
    server.await_other_workers(2, before)
    assert_goes_on(server)
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    folder.unlink()


@pytest.mark.parametrize("worker_class", by_default("sync", WORKER_CLASSES))
def test_no_space(serve: Serve, worker_class: str) -> None:
    """Where there is no space for the files, workers serve and count for nobody."""
    server = serve(
        worker_class=worker_class,
        hooks="child_exit, on_exit, on_starting, worker_exit",
        config=NO_SPACE,
    )
    assert_goes_on(server)
    assert server.log().count("internal telemetry error in store") == 2
    before = server.workers()
    server.signal(signal.SIGHUP)
    server.await_other_workers(2, before)
    assert_goes_on(server)
