"""Servers without gunicorn's hooks whose processes are given one ``PROMETHEUS_MULTIPROC_DIR``."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.documents import DOCS, blocks
from tests.support.exporter_process import SPANS_EACH, Requests, sending, times
from tests.support.gunicorn_server import (
    DEADLINE,
    PATIENT,
    Answer,
    Metrics,
    eventually,
    lock_holders,
    parse,
    total,
)
from tests.support.otlp_sink import OtlpSink
from tests.support.paths import APPS
from tests.support.pushed_metrics import pushed
from tests.support.requirements import unavailable
from tests.support.rows import by_default

COUNT, SPANS = "ivatar_requests_total", "avatar_telemetry_spans_total"
Command = Callable[[int], list[str]]


def fork_server(port: int) -> list[str]:
    return [sys.executable, "-m", "forked_server", str(port), "3", "answers:application"]


def uwsgi_program() -> str:
    program = Path(sysconfig.get_path("scripts"), "uwsgi")
    if not program.exists():
        unavailable("uWSGI is not installed: pip install 'avatar-telemetry[compiled]'")
    return str(program)


def uwsgi(port: int, *more: str) -> list[str]:
    return [
        uwsgi_program(), "--http-socket", f"127.0.0.1:{port}", "--master", "--processes", "4",
        "--home", sys.prefix, "--pythonpath", str(APPS), "--module", "answers:application",
        "--die-on-term", "--need-app", *more,
    ]  # fmt: skip


def uwsgi_with_threads(port: int) -> list[str]:
    return uwsgi(port, "--enable-threads")


def uwsgi_with_lazy_applications(port: int) -> list[str]:
    return uwsgi(port, "--enable-threads", "--lazy-apps")


class Served:
    """A server under test.

    Args:
        port: where it listens.
        path: its working directory.
        process: its first process.
    """

    def __init__(self, port: int, path: Path, process: subprocess.Popen[bytes]) -> None:
        self._port = port
        self._path = path
        self.process = process

    def get(self, path: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=DEADLINE)
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def metrics(self) -> Metrics:
        return parse(self.get("/metrics").text)

    def answers(self) -> bool:
        assert self.process.poll() is None, self.log()
        try:
            return self.get("/metrics").status == 200
        except OSError:
            return False

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(DEADLINE)

    def log(self) -> str:
        return (self._path / "log").read_text(errors="replace")


@contextmanager
def server(
    path: Path, port: int, command: list[str], env: dict[str, str | None]
) -> Iterator[Served]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("OTEL_", "AVATAR_TELEMETRY_", "PROMETHEUS_", "COV_"))
    }
    kept |= PATIENT | {name: value for name, value in env.items() if value is not None}
    kept |= {
        "AVATAR_TELEMETRY_PROFILE": "avatar_telemetry.profiles.generic:PROFILE",
        "PYTHONPATH": str(APPS), "PROMETHEUS_MULTIPROC_DIR": str(path / "metrics"),
    }  # fmt: skip
    with open(path / "log", "wb") as log:
        process = subprocess.Popen(
            command, cwd=path, env=kept, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    served = Served(port, path, process)
    try:
        eventually(served.answers, what="the server")
        yield served
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize(
    "command",
    by_default("fork", [
        pytest.param(fork_server, id="fork"),
        pytest.param(uwsgi_with_threads, id="uwsgi"),
        pytest.param(uwsgi_with_lazy_applications, id="uwsgi-lazy"),
    ]),
)  # fmt: skip
def test_processes_share_a_folder(
    sink: OtlpSink, tmp_path: Path, port: int, command: Command
) -> None:
    """One merged page, one exporter in a thread of one of them, exact counts, all spans once."""
    env = sending(
        sink.url, OTEL_METRICS_EXPORTER="otlp", OTEL_METRIC_EXPORT_INTERVAL="300", HOSTNAME="here"
    )
    with server(tmp_path, port, command(port), env) as served:
        requests = Requests(served)
        requests.send(60)
        for _ in range(8):
            assert total(served.metrics(), COUNT) == 60
        requests.await_all(sink)
        pushed(sink, 60)
        assert set(times(sink).values()) == {1}
        assert times(sink).total() == 60 * SPANS_EACH
        eventually(
            lambda: total(served.metrics(), SPANS, result="exported") == 60 * SPANS_EACH,
            what="the count",
        )
        (host,) = lock_holders(tmp_path / "metrics" / "exporter.lock")
        os.kill(host, signal.SIGKILL)
        if command is not fork_server:  # it starts no process in the place of a dead one
            eventually(served.answers, what="another process")
        requests.send_until_exported(sink)
        requests.await_all(sink)
        assert lock_holders(tmp_path / "metrics" / "exporter.lock") != [host]
        assert total(served.metrics(), COUNT) >= len(requests.answered)
        if command is uwsgi_with_lazy_applications:  # a worker that loads loses a signal to end
            eventually(lambda: served.log().count("WSGI app 0") == 5, what="the fifth worker")
        served.end()
        assert "Traceback" not in served.log()


def test_uwsgi_as_documented(sink: OtlpSink, tmp_path: Path, port: int) -> None:
    """The configuration of the documentation has one page and one exporter for all processes."""
    (ini,) = [each.text for each in blocks(DOCS / "other-servers.md") if each.language == "ini"]
    for documented, ours in {
        "127.0.0.1:8000": f"127.0.0.1:{port}",
        "telemetry_wsgi:application": "answers:application",
        "/run/ivatar-metrics": str(tmp_path / "metrics"),
        "http://collector.internal:4318": sink.url,
    }.items():
        assert documented in ini
        ini = ini.replace(documented, ours)
    (tmp_path / "uwsgi.ini").write_text(ini)
    command = [uwsgi_program(), "--ini", str(tmp_path / "uwsgi.ini"), "--home", sys.prefix]
    # Only what is not in the configuration: the sink looks for the paths of all requests.
    env = {"AVATAR_TELEMETRY_PRIVACY": "off", "OTEL_METRICS_EXPORTER": "none"}
    with server(tmp_path, port, command, env) as served:
        requests = Requests(served)
        requests.send(20)
        requests.await_all(sink)
        for _ in range(4):
            page = served.metrics()
            assert total(page, COUNT) == 20
            assert total(page, "avatar_telemetry_exporter_up") == 1
        served.end()
        assert "Traceback" not in served.log()


def test_uwsgi_without_threads(sink: OtlpSink, tmp_path: Path, port: int) -> None:
    """The log says at the start that nothing can be sent, once, and the page is served."""
    with server(tmp_path, port, uwsgi(port), sending(sink.url)) as served:
        Requests(served).send(10)
        assert total(served.metrics(), COUNT) == 10
        assert served.log().count("nothing can be exported: uWSGI runs without threads") == 1
        served.end()
        assert "Traceback" not in served.log()
    assert sink.exchanges() == []
