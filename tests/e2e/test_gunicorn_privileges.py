"""Workers that drop their privileges (``user``, ``group``) use the runtime folder all the same."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.gunicorn_server import (
    AVATARS,
    Serve,
    await_port,
    total,
)
from tests.support.otlp_sink import OtlpSink
from tests.support.privileges import DROP, IMPORT_EARLY, NOBODY, can_start_python
from tests.support.pushed_metrics import assert_goes_on, environment, pushed
from tests.support.rows import MATRIX, by_default

pytestmark = pytest.mark.usefixtures("as_root")


def owners(folder: Path) -> set[tuple[int, int]]:
    return {(path.stat().st_uid, path.stat().st_gid) for path in folder.glob("*_s[0-9]*.db")}


@pytest.mark.parametrize(("worker_class", "preload"), by_default("sync-import", MATRIX))
def test_dropped_workers_count(serve: Serve, worker_class: str, preload: bool) -> None:
    """All files are the workers' own, even those of metrics that are made after the drop."""
    server = serve(worker_class=worker_class, preload_app=preload, config=IMPORT_EARLY, **DROP)
    folder = server.runtime_folder
    for _ in range(4):
        assert server.get("/avatar/abc").body == b"hello"
        assert server.get("/late").text == "late"
    server.await_requests(4, **AVATARS)
    metrics = server.metrics()
    assert total(metrics, "app_late_total") == 4
    assert total(metrics, "app_work_seconds_count") == 4
    assert total(metrics, "avatar_telemetry_internal_errors_total") == 0
    assert folder.stat().st_mode & 0o777 == 0o700
    assert folder.stat().st_uid == NOBODY.pw_uid
    assert owners(folder) == {(NOBODY.pw_uid, NOBODY.pw_gid)}
    for worker in server.await_workers(2):
        assert Path(f"/proc/{worker}").stat().st_uid in (0, NOBODY.pw_uid)
        assert f"Uid:\t{NOBODY.pw_uid}" in Path(f"/proc/{worker}/status").read_text()
    server.reload()
    server.get("/avatar/abc")
    server.await_requests(5, **AVATARS)
    assert "Permission" not in server.log()
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert not folder.exists()


def test_exporter_of_dropped_workers(serve: Serve, port: int) -> None:
    """The exporter runs as the workers' user, whoever starts it, and serves the separate port."""
    server = serve(
        config=IMPORT_EARLY, env={"OTEL_PROMETHEUS_ENDPOINT": f"127.0.0.1:{port}"}, **DROP
    )
    lock = server.runtime_folder / "exporter.lock"
    # A worker that has dropped its privileges starts the next one, if it may run Python.
    for restart in range(3 if can_start_python() else 1):
        exporter = server.kill_exporter() if restart else server.exporter()
        await_port(port)
        uid, gid = NOBODY.pw_uid, NOBODY.pw_gid
        status = Path(f"/proc/{exporter}/status").read_text()
        assert f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}" in status
        assert f"Gid:\t{gid}\t{gid}\t{gid}\t{gid}" in status
        assert "Groups:\t \n" in status
    assert lock.stat().st_uid == NOBODY.pw_uid
    assert server.value("avatar_telemetry_internal_errors_total") == 0


def test_dropped_workers_push(serve: Serve, sink: OtlpSink) -> None:
    """The exporter pushes as the workers' user, and the next one goes on from what it left."""
    server = serve(config=IMPORT_EARLY, env=environment(sink.url), **DROP)
    for number in (1, 2, 3) if can_start_python() else (1,):
        if number > 1:
            server.kill_exporter()
        server.get("/avatar/abc")
        pushed(sink, number)
    state = server.runtime_folder / "pushed.state"
    assert state.stat().st_uid == NOBODY.pw_uid
    assert server.value("avatar_telemetry_internal_errors_total") == 0
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert_goes_on(sink)
    assert "Permission" not in server.log()


def test_upgrade_of_dropped_workers(serve: Serve) -> None:
    """The next master's workers, dropped too, count on in the same folder."""
    server = serve(config=IMPORT_EARLY, **DROP)
    server.get("/avatar/abc")
    folder = server.runtime_folder
    old, _ = server.upgrade()
    server.end(old)
    server.await_workers(2)
    server.get("/avatar/abc")
    server.await_requests(2)
    assert server.runtime_folder == folder


def test_folder_made_read_only(serve: Serve) -> None:
    """Where the workers may make no more files, what is open counts on and the rest is skipped."""
    server = serve(config=IMPORT_EARLY, **DROP)
    server.await_workers(2)
    for _ in range(6):
        server.get("/avatar/abc")
    server.await_requests(6, **AVATARS)
    folder = server.runtime_folder
    server.exporter()  # one that starts would make files while their modes change
    folder.chmod(0o500)
    for path in folder.iterdir():
        path.chmod(0o400)
    for _ in range(6):
        assert server.get("/avatar/abc").body == b"hello"
        assert server.get("/late").text == "late"
        assert server.get("/metrics").status == 200
    server.await_requests(12, **AVATARS)
    before = server.workers()
    server.signal(signal.SIGHUP)
    server.await_other_workers(2, before)
    for _ in range(6):
        assert server.get("/avatar/abc").body == b"hello"
        assert server.get("/metrics").status == 200
    assert "Error handling request" not in server.log()


def test_named_folder_that_the_workers_cannot_use(prepare: Serve, tmp_path: Path) -> None:
    """A folder that is not the workers' to reach stops the start."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    server = prepare(env={"PROMETHEUS_MULTIPROC_DIR": str(closed / "named")}, **DROP)
    status, output = server.run_to_end()
    assert status != 0
    assert f"PROMETHEUS_MULTIPROC_DIR='{closed / 'named'}'" in output
    assert "Booting worker" not in output
    assert "Traceback" not in output
