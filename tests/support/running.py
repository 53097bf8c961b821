"""The command as its users start it: a process of its own, in an environment of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any
from unittest.mock import patch

from prometheus_client import values

from avatar_demo import simulate as simulation
from avatar_telemetry.cli import main
from tests.support.gunicorn_server import exporter_of
from tests.support.local_server import Handler, make_server, serving
from tests.support.paths import REPOSITORY
from tests.support.waiting import DEADLINE as DEADLINE
from tests.support.waiting import eventually as eventually

LISTENING = re.compile(r"Listening at: (http://\S+)")
FOREIGN = (
    "OTEL_", "AVATAR_TELEMETRY_", "PROMETHEUS_", "GUNICORN_", "IVATAR_", "COV_", "DEMO_",
    "KUBERNETES_", "WEB_CONCURRENCY",
    # What the terminal and the network of this machine are like.
    "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "http_proxy", "https_proxy", "all_proxy",
    "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
)  # fmt: skip
"""Beginnings of the variables that a test's process or command gets from its test alone."""


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    status: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


def environment(**env: str) -> dict[str, str]:
    """The environment without what is :data:`FOREIGN`, and these variables."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    return {**kept, "HOSTNAME": "a-host", **env}


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "avatar_telemetry", *map(str, arguments)]


def demo_command(module: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", module, *map(str, arguments)]


def run(*arguments: object, cwd: Path | None = None, **env: str) -> Ran:
    """Run the command to its end; whatever happens, it shows no traceback."""
    ended = subprocess.run(
        command(*arguments), cwd=cwd, env=environment(**env), capture_output=True, text=True,
        timeout=DEADLINE, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert "Traceback" not in ended.stdout + ended.stderr, ended.stderr
    return Ran(ended.returncode, ended.stdout, ended.stderr)


def simulate(*arguments: object) -> Ran:
    """Run ``python -m avatar_demo.simulate`` in this process; it waits for the server."""
    with patch.object(simulation, "TIMEOUT", DEADLINE):
        return invoke(*arguments, command=simulation.main)


def invoke(*arguments: object, command: Callable[[list[str]], None] = main, **env: str) -> Ran:
    """Run the command in this process, which takes a tenth of the time of a new one."""
    out, err = (TextIOWrapper(BytesIO(), "utf-8", write_through=True) for _ in range(2))
    path, value_class = sys.path[:], values.ValueClass
    status = None
    try:
        with (
            patch.dict(os.environ, environment(**env), clear=True),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            command(list(map(str, arguments)))
    except SystemExit as ended:
        status = ended.code
    finally:
        sys.path[:], values.ValueClass = path, value_class
    assert isinstance(status, int)
    ran = Ran(status, *(stream.buffer.getvalue().decode() for stream in (out, err)))
    assert "Traceback" not in ran.out + ran.err, ran.err
    return ran


class PageServer:
    """A web server that shows one page everywhere, and remembers what it was asked.

    Args:
        page: its text.
        status: of its answers.
        headers: of its answers.
    """

    def __init__(self, page: str = "", status: int = 200, **headers: str) -> None:
        self.asked: list[tuple[str, str, bytes]] = []
        self.headers: list[dict[str, str]] = []
        asked, sent = self.asked, self.headers

        class PageHandler(Handler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                asked.append((self.command, self.path, body))
                sent.append({name.lower(): value for name, value in self.headers.items()})
                self.respond(status, page.encode(), **headers)

            do_POST = do_GET

        server = make_server(PageHandler)
        self.url = f"http://127.0.0.1:{server.server_port}"
        self._serving = serving(server)

    def __enter__(self) -> PageServer:
        self._serving.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._serving.__exit__(None, None, None)


class DemoServer:
    """``python -m avatar_demo``, with a folder of its own.

    Args:
        folder: for its data, its metrics and its log.
        workers: how many.
        env: more variables.
    """

    def __init__(self, folder: Path, workers: int = 2, **env: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.runtime = folder / "runtime"
        self.env = {"PROMETHEUS_MULTIPROC_DIR": str(self.runtime), **env}
        self._log = folder / "log"
        self._folder = folder
        self._workers = workers
        self.url = ""

    def __enter__(self) -> DemoServer:
        arguments = ("--bind", "127.0.0.1:0", "--workers", self._workers)
        with open(self._log, "wb") as log:
            self.process = subprocess.Popen(
                demo_command("avatar_demo", *arguments), cwd=REPOSITORY, stdout=log, stderr=log,
                env=environment(DEMO_DATA=str(self._folder / "data"), **self.env),
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        try:
            self.url = eventually(self._listens, "the demo")
            eventually(self._all_up, "its workers and its exporter")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait(DEADLINE)

    def _listens(self) -> str:
        assert self.process.poll() is None, self._log.read_text()
        found = LISTENING.search(self._log.read_text())
        return found[1] if found else ""

    def _all_up(self) -> bool:
        looked = invoke("top", self.url, "--once", "--json", **self.env)
        idle = looked.json()["idle"] if looked.status == 0 else 0
        return idle == self._workers and (self._workers == 1 or exporter_of(self.runtime) > 0)
