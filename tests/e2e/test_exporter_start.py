"""Where and how a server is started: the exporter finds the package of the server, and no other."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.exporter_process import (
    SPANS_EACH,
    Requests,
    counted,
    sending,
    times,
)
from tests.support.gunicorn_server import (
    DEADLINE,
    Answer,
    GunicornServer,
    Serve,
    UnixConnection,
    eventually,
    exporters,
)
from tests.support.otlp_sink import OtlpSink
from tests.support.paths import APPS, REPOSITORY
from tests.support.privileges import DROP, IMPORT_EARLY, NOBODY
from tests.support.requirements import unavailable
from tests.support.rows import MATRIX, by_default

LIBRARIES = ("requests.py", "certifi.py", "urllib3/__init__.py", "charset_normalizer/__init__.py")
"""What the exporter imports and its server does not."""
IMPORTED = "open({path!r}, 'a').write(__name__); raise ImportError('not the library')\n"
NO_PYTHON = "import sys; sys.executable = '/usr/bin/env'\n"


def assert_sent(server: GunicornServer, sink: OtlpSink) -> int:
    """Have spans sent by a process, once each; its pid."""
    requests = Requests(server)
    requests.send(10)
    running = server.exporter()
    requests.await_all(sink)
    assert set(times(sink).values()) == {1}
    exact = {"exported": len(requests.answered) * SPANS_EACH}
    eventually(lambda: counted(server) == exact, what="the count")
    assert "Traceback" not in server.log()
    return running


@pytest.mark.parametrize(("worker_class", "preload"), by_default("gevent-preload", MATRIX))
def test_each_kind_of_worker(
    serve: Serve, sink: OtlpSink, worker_class: str, preload: bool
) -> None:
    """One exporter sends for all workers, and imports nothing of the application."""
    server = serve(
        "answers:application", workers=4, worker_class=worker_class, preload_app=preload,
        env=sending(sink.url),
    )  # fmt: skip
    running = assert_sent(server, sink)
    maps = Path(f"/proc/{running}/maps").read_text()
    assert "gevent" not in maps
    assert exporters(server.runtime_folder) == [running]
    arguments = Path(f"/proc/{running}/cmdline").read_text().split("\0")
    assert " ".join(arguments).count(f"avatar-telemetry exporter {server.runtime_folder}") == 1


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(("worker_class", "preload"), by_default("sync-import", MATRIX))
def test_dropped_privileges(serve: Serve, sink: OtlpSink, worker_class: str, preload: bool) -> None:
    """It runs as the workers' user, and all its files are that user's."""
    server = serve(
        "answers:application", worker_class=worker_class, preload_app=preload,
        config=IMPORT_EARLY, env=sending(sink.url), **DROP,
    )  # fmt: skip
    running = assert_sent(server, sink)
    status = Path(f"/proc/{running}/status").read_text()
    assert "Uid:\t" + "\t".join([str(NOBODY.pw_uid)] * 4) in status
    assert "Gid:\t" + "\t".join([str(NOBODY.pw_gid)] * 4) in status
    assert "Groups:\t \n" in status
    folder = server.runtime_folder
    files = [path for path in folder.iterdir() if path.name != "folder.lock"]
    assert {path.stat().st_uid for path in files} == {NOBODY.pw_uid}
    server.end(server.pid)
    assert exporters(folder) == []


def test_names_of_libraries_in_the_working_directory(prepare: Serve, sink: OtlpSink) -> None:
    """Modules of the application with such names are not imported."""
    server = prepare("answers:application", env=sending(sink.url))
    imported = server.path / "imported"
    for name in LIBRARIES:
        path = server.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(IMPORTED.format(path=str(imported)))
    server.start()
    assert_sent(server, sink)
    assert not imported.exists()


@pytest.mark.parametrize(
    ("arguments", "env", "interpreter"),
    by_default("isolated", [
        pytest.param((), {"PYTHONPATH": str(APPS)}, (), id="PYTHONPATH"),
        pytest.param(("--pythonpath", str(APPS)), {"PYTHONPATH": None}, (), id="pythonpath"),
        pytest.param(("--chdir", str(APPS)), {"PYTHONPATH": None}, (), id="chdir"),
        pytest.param(("--chdir", "/sys"), {}, (), id="read-only"),
        pytest.param(("--pythonpath", str(APPS)), {}, ("-I",), id="isolated"),
        pytest.param((), {}, ("-X", "utf8", "-W", "error::ImportWarning"), id="options"),
        pytest.param((), {"PYTHONSAFEPATH": "1", "PYTHONHASHSEED": "1"}, (), id="variables"),
    ]),
)  # fmt: skip
def test_ways_to_find_the_application(
    serve: Serve,
    sink: OtlpSink,
    arguments: tuple[str, ...],
    env: dict[str, str | None],
    interpreter: tuple[str, ...],
) -> None:
    """However the server finds what it imports, the exporter finds the package."""
    server = serve(
        "answers:application", arguments=arguments, interpreter=interpreter,
        env=sending(sink.url, **env),
    )  # fmt: skip
    assert_sent(server, sink)


def test_package_of_the_server(serve: Serve, sink: OtlpSink, tmp_path: Path) -> None:
    """Where a copy of the package comes first, the exporter runs that copy."""
    copy = tmp_path / "copy"
    shutil.copytree(
        REPOSITORY / "avatar_telemetry", copy / "avatar_telemetry",
        ignore=shutil.ignore_patterns("__pycache__"),
    )  # fmt: skip
    env = sending(sink.url, PYTHONPATH=f"{copy}:{APPS}", PYTHONDONTWRITEBYTECODE=None)
    server = serve("answers:application", env=env)
    running = assert_sent(server, sink)
    arguments = Path(f"/proc/{running}/cmdline").read_text().split("\0")
    assert str(copy / "avatar_telemetry/exporter/bootstrap.py") in arguments
    assert list((copy / "avatar_telemetry/exporter/__pycache__").glob("process.*"))


@pytest.mark.parametrize("hosted", ["auto", "process"])
def test_interpreter_that_is_no_python(serve: Serve, sink: OtlpSink, hosted: str) -> None:
    """A thread of a worker sends then, which one line of the log says; never where refused."""
    env = sending(sink.url, AVATAR_TELEMETRY_EXPORTER=hosted)
    server = serve("answers:application", config=NO_PYTHON, env=env)
    requests = Requests(server)
    requests.send(10)
    assert exporters(server.runtime_folder) == []
    if hosted == "auto":
        requests.await_all(sink)
        assert set(times(sink).values()) == {1}
        assert server.log().count("sys.executable is not a Python interpreter: '/usr/bin/env'") == 1
    else:
        eventually(
            lambda: requests.send(1) or "sys.executable is not a Python interpreter" in server.log()
        )
        assert server.value("avatar_telemetry_internal_errors_total", where="exporter") > 0
        server.end(server.pid)
        assert sink.exchanges() == []


@pytest.mark.usefixtures("as_root")
def test_first_process_of_a_container(prepare: Serve, sink: OtlpSink) -> None:
    """gunicorn as process 1 adopts the exporter, waits for its child, and ends when it has."""
    container = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if subprocess.run([*container, "true"], capture_output=True).returncode != 0:
        unavailable("a PID namespace cannot be made here")
    server = prepare("answers:application", unix=True, env=sending(sink.url))
    with open(server.path / "log", "ab") as log:
        process = subprocess.Popen(
            [*container, *server.command()], cwd=server.path, env=server.environment,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        eventually(lambda: server.log().count("Worker is ready") == 2, what="the workers")
        (first,) = children(process.pid)
        requests = Requests(Contained(server.path / "socket"))
        requests.send(10)
        requests.await_all(sink)
        running = eventually(lambda: adopted(first), what="the exporter's adoption")
        os.kill(running, signal.SIGKILL)
        eventually(lambda: not Path(f"/proc/{running}").exists(), what="the reaping")
        requests.send_until_exported(sink)
        requests.send(10)
        os.kill(first, signal.SIGTERM)
        assert process.wait(DEADLINE) == 0
    finally:
        process.kill()
        process.wait()
    assert requests.missing(sink) == set()
    assert "Traceback" not in server.log()
    assert "Worker failed to boot" not in server.log()


class Contained:
    """A server whose processes the test does not know by their own pids."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, path: str) -> Answer:
        connection = UnixConnection(str(self._path), DEADLINE)
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            return Answer(connection.getresponse())
        finally:
            connection.close()


def children(pid: int) -> list[int]:
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def adopted(pid: int) -> int:
    """The exporter that is a child of a process; 0 where there is none."""
    names = {child: Path(f"/proc/{child}/comm").read_text().strip() for child in children(pid)}
    return next((child for child, name in names.items() if name == "avatar-exporter"), 0)
