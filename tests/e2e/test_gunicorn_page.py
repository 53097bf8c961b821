"""The metrics page under gunicorn: what stands on it, who may read it, who serves it."""

from __future__ import annotations

import signal
import socket

import pytest

from tests.support.gunicorn_server import (
    AVATARS,
    Serve,
    await_port,
    eventually,
    scrape_port,
    series,
    total,
)
from tests.support.rows import MATRIX, PRELOAD, WORKER_CLASSES, by_default

# Hooks of the user's own, each composed with ours by one line.
OWN_HOOKS = """
from avatar_telemetry import gunicorn as telemetry

def note(name):
    with open("hooks", "a") as file:
        file.write(name + "\\n")

def on_starting(server):
    telemetry.on_starting(server)
    note("on_starting")

def post_fork(server, worker):
    telemetry.post_fork(server, worker)
    note("post_fork")

def worker_exit(server, worker):
    telemetry.worker_exit(server, worker)
    note("worker_exit")

def child_exit(server, worker):
    telemetry.child_exit(server, worker)
    note("child_exit")

def on_exit(server):
    telemetry.on_exit(server)
    note("on_exit")
"""

# While there is a file of that name, no new worker comes up.
HELD_UP_FORK = """
from avatar_telemetry import gunicorn as telemetry

def post_fork(server, worker):
    import os, time
    while os.path.exists("hold-up"):
        time.sleep(0.02)
    telemetry.post_fork(server, worker)
"""


@pytest.mark.parametrize(("worker_class", "preload"), by_default("gthread-preload", MATRIX))
def test_page(serve: Serve, worker_class: str, preload: bool) -> None:
    """Whichever worker is asked shows the counts of all, the application's own among them."""
    server = serve(worker_class=worker_class, preload_app=preload)
    (server.path / "picture").write_bytes(b"picture" * 20_000)
    for _ in range(8):
        assert server.get("/avatar/abc?s=80").body == b"hello"
    assert server.get("/stream").body == b"0\n1\n2\n3\n4\n"
    assert server.get("/file").body == b"picture" * 20_000
    assert server.request("POST", "/upload", b"x" * 100_000).text == "100000"
    assert server.get("/boom").status == 500
    assert server.get("/late").text == "late"
    server.await_requests(13)
    server.await_idle()
    for _ in range(4):
        metrics = server.metrics()
        assert total(metrics, "ivatar_requests_total", **AVATARS) == 8
        assert total(metrics, "ivatar_requests_total", status_code="500") == 1
        assert total(metrics, "ivatar_requests_total", path="/upload", method="POST") == 1
        assert total(metrics, "ivatar_request_duration_seconds_count") == 13
        assert total(metrics, "ivatar_avatar_requests_total", size="80", format="png") == 8
        assert total(metrics, "ivatar_requests_in_progress") == 0
        assert total(metrics, "app_plain_total") == 13
        assert total(metrics, "app_things_total", kind="avatar") == 8
        assert total(metrics, "app_work_seconds_bucket", le="0.5") == 8
        assert total(metrics, "app_work_seconds_sum") == 2.0
        assert total(metrics, "app_size_bytes_count") == 8
        assert total(metrics, "app_size_bytes_sum") == 40
        assert total(metrics, "app_open") == 0
        assert total(metrics, "app_late_total") == 1
        assert total(metrics, "gunicorn_workers") == 2
        assert total(metrics, "avatar_telemetry_slots_in_use") == 2
        assert total(metrics, "avatar_telemetry_unreadable_files") == 0
        assert total(metrics, "avatar_telemetry_internal_errors_total") == 0
        assert set(series(metrics, "process_threads", "worker")) == {"0", "1", "master"}
    assert (server.path / "sendfile.calls").read_text() == "call\n"
    assert "internal telemetry error" not in server.log()


def test_scrapes_are_not_requests(serve: Serve) -> None:
    """A scrape that is answered is not counted; one that the application answers is."""
    server = serve(env={"AVATAR_TELEMETRY_METRICS_TOKEN": "a-secret-token"})
    for _ in range(5):
        assert "app_plain_total" in server.get("/metrics").text
    assert server.requests() == 0
    assert server.value("ivatar_requests_in_progress") == 0
    for headers in (
        {"X-Forwarded-For": "127.0.0.1"},
        {"Forwarded": "for=127.0.0.1"},
        {"Via": "1.1 proxy"},
        {"X-Forwarded-For": "127.0.0.1", "Authorization": "Bearer wrong-token"},
    ):
        assert server.get("/metrics", headers).text == "a page"
    allowed = {"X-Forwarded-For": "10.1.2.3", "Authorization": "Bearer a-secret-token"}
    assert "app_plain_total" in server.get("/metrics", allowed).text
    assert server.request("POST", "/metrics", b"").text == "a page"
    server.await_requests(5)


@pytest.mark.parametrize(("allowed", "unix"), [("10.0.0.0/8", False), ("127.0.0.1", True)])
def test_networks_that_may_read(serve: Serve, allowed: str, unix: bool) -> None:
    """A caller on no allowed network, or not on "unix", gets the application's response."""
    server = serve(unix=unix, env={"AVATAR_TELEMETRY_METRICS_ALLOW": allowed})
    assert server.get("/metrics").text == "a page"


@pytest.mark.parametrize("worker_class", by_default("sync", WORKER_CLASSES))
def test_unix_socket(serve: Serve, worker_class: str) -> None:
    """Over a unix socket everything is the same, whatever the client says its host is."""
    server = serve(worker_class=worker_class, unix=True)
    assert server.get("/avatar/abc", {"Host": "example.com:abc"}).body == b"hello"
    assert server.get("/avatar/abc").status == 200
    server.await_requests(2, **AVATARS)
    metrics = server.metrics()
    assert total(metrics, "gunicorn_workers") == 2
    assert "gunicorn_backlog" not in {name for name, _ in metrics}
    assert server.get("/metrics", {"X-Forwarded-For": "1.2.3.4"}).text == "a page"
    assert "internal telemetry error" not in server.log()


def test_workers_by_state(serve: Serve) -> None:
    """A worker is busy while it has a request in progress; one that was killed is neither."""
    server = serve(workers=3)
    server.await_workers(3)
    assert series(server.metrics(), "gunicorn_workers", "state") == {"busy": 0, "idle": 3}
    request = server.hold()
    assert series(server.metrics(), "gunicorn_workers", "state") == {"busy": 1, "idle": 2}
    server.let_go()
    request.join()
    server.await_idle()
    assert series(server.metrics(), "gunicorn_workers", "state") == {"busy": 0, "idle": 3}


def test_backlog(serve: Serve, port: int) -> None:
    """Connections that no worker has accepted are counted, and no more once they are."""
    server = serve(workers=1, env={"OTEL_PROMETHEUS_ENDPOINT": f"127.0.0.1:{port}"})
    assert total(await_port(port), "gunicorn_backlog") == 0
    request = server.hold()
    waiting = [server.connect() for _ in range(3)]
    for connection in waiting:
        connection.connect()
    eventually(lambda: total(await_port(port), "gunicorn_backlog") == 3)
    for connection in waiting:
        connection.close()
    server.let_go()
    request.join()
    eventually(lambda: total(await_port(port), "gunicorn_backlog") == 0)


@pytest.mark.parametrize("worker_class", by_default("gevent", WORKER_CLASSES))
def test_next_exporter_takes_over_the_port(serve: Serve, port: int, worker_class: str) -> None:
    """Where the exporter is killed, the next one serves the separate port."""
    server = serve(worker_class=worker_class, env={"OTEL_PROMETHEUS_ENDPOINT": f"127.0.0.1:{port}"})
    server.get("/avatar/abc")
    server.await_requests(1)
    for requests in (1, 2, 3):
        assert total(await_port(port), "ivatar_requests_total", **AVATARS) == requests
        server.kill_exporter()
        server.get("/avatar/abc")


def test_port_over_a_reload(serve: Serve, port: int) -> None:
    """After a reload the separate port is served on."""
    server = serve(env={"OTEL_PROMETHEUS_ENDPOINT": f"127.0.0.1:{port}"})
    await_port(port)
    server.reload()
    await_port(port)


def test_port_asks_for_the_token(serve: Serve, port: int) -> None:
    """The separate port is closed to who has no token, where one is set and he is no neighbour."""
    server = serve(
        env={
            "OTEL_PROMETHEUS_ENDPOINT": f"127.0.0.1:{port}",
            "AVATAR_TELEMETRY_METRICS_TOKEN": "a-secret-token",
            "AVATAR_TELEMETRY_METRICS_ALLOW": "10.0.0.0/8,unix",
        }
    )
    eventually(lambda: scrape_port(port)[0])
    assert scrape_port(port)[0] == 401
    assert scrape_port(port, {"Authorization": "Bearer a-secret-token"})[0] == 200
    assert "internal telemetry error" not in server.log()


def test_silent_client_of_the_port_holds_nobody_up(serve: Serve, port: int) -> None:
    """A client of the separate port that says nothing delays neither others nor a restart."""
    server = serve(env={"OTEL_PROMETHEUS_ENDPOINT": f"127.0.0.1:{port}"})
    await_port(port)
    with socket.create_connection(("127.0.0.1", port)):
        await_port(port)
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
    assert "SIGKILL" not in server.log()


@pytest.mark.parametrize("preload", by_default("import", PRELOAD))
def test_hooks_of_the_user(serve: Serve, preload: bool) -> None:
    """A hook of the user's own that calls ours works like ours alone."""
    server = serve(hooks="", config=OWN_HOOKS, preload_app=preload)
    folder = server.runtime_folder
    server.get("/avatar/abc")
    server.await_requests(1)
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert not folder.exists()
    called = (server.path / "hooks").read_text().split()
    expected = {"on_starting": 1, "post_fork": 2, "worker_exit": 2, "child_exit": 2, "on_exit": 1}
    assert {name: called.count(name) for name in called} == expected
