"""The metrics page of the exporter: workers relay it, and merge themselves where none serves."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

import pytest

from avatar_telemetry.exporter.page import FILE_NAME, fetch
from avatar_telemetry.metrics.exposition import Variant
from tests.support.descriptors import open_files
from tests.support.exporter_process import Requests, sending
from tests.support.gunicorn_server import (
    GunicornServer,
    Serve,
    await_port,
    eventually,
    exporters,
    parse,
    total,
)
from tests.support.otlp_sink import OtlpSink
from tests.support.rows import MATRIX, by_default

PAGE = b"10\nrelayed 1\n"
COUNT = "ivatar_requests_total"
# Workers wait for the page as long as the test's thread may be stopped that serves it.
WAIT = "from avatar_telemetry.exporter import page\npage.MAX_WAIT = 300.0\n"


@contextmanager
def in_its_place(folder: Path) -> Iterator[None]:
    """Serve a page of the test on the socket of the exporter."""
    (folder / FILE_NAME).unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / FILE_NAME))
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65_536)
                    connection.sendall(PAGE)

        thread = Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def served(folder: Path) -> float:
    """Requests that the page of the exporter counts; -1.0 where none serves it."""
    try:
        body = fetch(folder, Variant(openmetrics=False, gzip=False))
    except (OSError, ValueError):
        return -1.0
    return total(parse(body.decode()), COUNT)


@pytest.mark.parametrize(("worker_class", "preload"), by_default("sync-import", MATRIX))
def test_workers_relay_the_page(serve: Serve, worker_class: str, preload: bool) -> None:
    """Whichever worker is asked, the page is that of the exporter; without one it merges itself."""
    server = serve(
        "answers:application", workers=4, worker_class=worker_class, preload_app=preload,
        config=WAIT,
    )  # fmt: skip
    folder = server.runtime_folder
    Requests(server).send(20)
    running = server.exporter()
    eventually(lambda: served(folder) == 20, what="the page of the exporter")
    with in_its_place(folder):
        assert {server.get("/metrics").text for _ in range(12)} == {"relayed 1\n"}
    os.kill(running, signal.SIGKILL)
    for _ in range(4):
        assert server.requests() == 20
    server.exporter(without=running)
    eventually(lambda: served(folder) == 20, what="the page of the next exporter")
    assert server.requests() == 20


def test_stopped_exporter_does_not_stop_the_page(serve: Serve) -> None:
    """A worker merges the store itself where the exporter does not answer."""
    server = serve("answers:application")
    Requests(server).send(5)
    running = server.exporter()
    os.kill(running, signal.SIGSTOP)
    try:
        assert server.requests() == 5
    finally:
        os.kill(running, signal.SIGCONT)


def test_stalled_clients_do_not_stop_the_page(serve: Serve) -> None:
    """Clients of the socket that send nothing keep no scrape waiting for ever."""
    server = serve("answers:application")
    Requests(server).send(5)
    server.exporter()
    stalled = [socket.socket(socket.AF_UNIX) for _ in range(3)]
    try:
        for each in stalled:
            each.connect(str(server.runtime_folder / FILE_NAME))
        assert server.requests() == 5
        eventually(lambda: served(server.runtime_folder) == 5, what="the page of the exporter")
    finally:
        for each in stalled:
            each.close()


def test_export_off(serve: Serve, sink: OtlpSink) -> None:
    """With two workers an exporter serves the page, and imports nothing that only sending needs."""
    server = serve("answers:application", env=sending(sink.url, OTEL_EXPORT_ENABLED="false"))
    Requests(server).send(5)
    running = server.exporter()
    eventually(lambda: served(server.runtime_folder) == 5, what="the page of the exporter")
    maps = Path(f"/proc/{running}/maps").read_text()
    assert "protobuf" not in maps and "charset_normalizer" not in maps
    folder = server.runtime_folder
    server.end(server.pid)
    assert exporters(folder) == []
    assert sink.exchanges() == []


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"workers": 1}, id="one-worker"),
        pytest.param({"env": {"AVATAR_TELEMETRY_EXPORTER": "none"}}, id="none"),
        pytest.param({"env": {"OTEL_SDK_DISABLED": "true"}}, id="disabled"),
    ],
)
def test_no_exporter(serve: Serve, options: dict[str, object]) -> None:
    """None runs where it would have nothing to do, or must not."""
    server = serve("answers:application", **options)
    Requests(server).send(5)
    assert server.get("/metrics").status in (200, 404 if "disabled" in str(options) else 200)
    folder = server.folder()
    assert folder is None or served(folder) == -1.0
    assert writers(server) == set(server.everybody())


def writers(server: GunicornServer) -> set[int]:
    """The processes whose standard error is the log of a server."""
    log, found = str(server.path / "log"), set()
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with suppress(OSError):
            if os.readlink(f"/proc/{pid}/fd/2") == log:
                found.add(pid)
    return found


def test_separate_port(serve: Serve, sink: OtlpSink, port: int) -> None:
    """The exporter serves it, and after a kill the next one does, with what was counted."""
    env = sending(sink.url, OTEL_PROMETHEUS_ENDPOINT=f"127.0.0.1:{port}")
    server = serve("answers:application", env=env)
    requests = Requests(server)
    requests.send(5)
    for _ in range(2):
        assert total(await_port(port), COUNT) == len(requests.answered)
        running = server.exporter()
        eventually(lambda pid=running: listens(pid, port), what="its socket in the kernel's list")
        os.kill(running, signal.SIGKILL)
        requests.send(1)
        server.exporter(without=running)
    assert total(await_port(port), COUNT) == len(requests.answered)


def listens(pid: int, port: int) -> bool:
    """Whether a process has the listening socket of a port."""
    lines = map(str.split, Path("/proc/net/tcp").read_text().splitlines())
    listening = {f"socket:[{line[9]}]" for line in lines
                 if line[1].endswith(f":{port:04X}") and line[3] == "0A"}  # fmt: skip
    return bool(listening & set(open_files(pid).values()))
