"""``instrument()`` under servers without our hooks: wsgiref, waitress, a lone process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
import waitress
from waitress import wasyncore

from avatar_telemetry import Profile, Settings, SettingsError, instrument
from avatar_telemetry.wsgi.middleware import TelemetryMiddleware
from tests.support.otlp_fixtures import sink  # noqa: F401 - fixture
from tests.support.otlp_sink import OtlpSink
from tests.support.wsgi_client import call

SERVE_ONE = """
import json, os, sys
from avatar_telemetry import Profile, Route, instrument
from prometheus_client import Counter
from wsgiref.util import setup_testing_defaults

counter = Counter("mine", "mine")
def application(environ, start_response):
    counter.inc()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"fine"]
"""


def application(environ, start_response):
    length = int(environ.get("CONTENT_LENGTH") or 0)
    body = environ["wsgi.input"].read(length)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["PATH_INFO"].encode("latin-1"), b" ", body]


def test_twice_wraps_once() -> None:
    """What is wrapped already stays as it is."""
    wrapped = instrument(application)
    assert isinstance(wrapped, TelemetryMiddleware)
    assert instrument(wrapped) is wrapped


def test_disabled_is_untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """With OTEL_SDK_DISABLED the application is returned as it came, whatever else is set."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    monkeypatch.setenv("AVATAR_TELEMETRY_SIZES", "large")
    assert instrument(application) is application


def test_disabled_by_its_settings() -> None:
    """The same for settings that are given."""
    settings = Settings.from_env({"OTEL_SDK_DISABLED": "true"})
    assert instrument(application, settings=settings) is application


def test_a_bad_setting_stops_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without hooks the settings are checked when the application is wrapped."""
    monkeypatch.setenv("AVATAR_TELEMETRY_PROFILE", "nowhere:PROFILE")
    with pytest.raises(SettingsError, match="AVATAR_TELEMETRY_PROFILE='nowhere:PROFILE'"):
        instrument(application)


def by_wsgiref(wrapped) -> tuple[int, Callable[[], None], Callable[[], None]]:
    class Quiet(WSGIRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """No news."""

    server = make_server("127.0.0.1", 0, wrapped, handler_class=Quiet)
    return server.server_port, lambda: server.serve_forever(0.02), lambda: (
        server.shutdown(), server.server_close())[0]  # fmt: skip


def by_waitress(wrapped) -> tuple[int, Callable[[], None], Callable[[], None]]:
    server = waitress.create_server(wrapped, listen="127.0.0.1:0", threads=4)

    def stop() -> None:
        # In the loop's own thread: it must not select on what another thread closes.
        server.trigger.pull_trigger(lambda: wasyncore.close_all(server._map, ignore_all=True))

    return int(server.effective_port), lambda: (
        server.run(), server.task_dispatcher.shutdown())[0], stop  # fmt: skip


@pytest.fixture(scope="module")
def started() -> None:
    """What the first request of this process starts, and what stays until the process ends."""
    call(instrument(application, profile=Profile("test")))


@pytest.fixture(params=[by_wsgiref, by_waitress], ids=["wsgiref", "waitress"])
def address(request: pytest.FixtureRequest, started: None) -> Iterator[str]:
    """A server with the wrapped application."""
    wrapped = instrument(application, profile=Profile("test"))
    port, run, stop = request.param(wrapped)
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{port}"
    stop()
    thread.join(10)


def fetch(url: str, body: bytes | None = None) -> bytes:
    with urllib.request.urlopen(url, body, timeout=10) as answer:
        return bytes(answer.read())


def counted(page: bytes) -> float:
    return sum(
        float(line.rpartition(b" ")[2])
        for line in page.splitlines()
        if line.startswith(b"ivatar_requests_total{")
    )


def test_other_servers(address: str) -> None:
    """Under any WSGI server requests are answered and counted, in this one process."""
    before = counted(fetch(address + "/metrics"))
    assert fetch(address + "/a") == b"/a "
    assert fetch(address + "/b", b"posted") == b"/b posted"
    page = fetch(address + "/metrics")
    assert counted(page) == before + 2
    assert b"gunicorn_workers" not in page
    assert b'process_threads{worker="0"}' in page
    assert b"python_info" in page, "what the application's own registry has stands there, too"


def run_python(program: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60,
        env={**os.environ, **environ},
    )  # fmt: skip


def test_importing_changes_nothing() -> None:
    """The package alone patches no library, makes no file and starts no thread."""
    program = (
        "import sys, threading, urllib.request, prometheus_client.values as values\n"
        "folders = []\n"
        "sys.addaudithook(lambda event, args: event == 'os.mkdir' and folders.append(args[0]))\n"
        "before = (values.ValueClass, urllib.request.OpenerDirector.open)\n"
        "import avatar_telemetry\n"
        "assert before == (values.ValueClass, urllib.request.OpenerDirector.open)\n"
        "assert threading.active_count() == 1\n"
        "assert not [folder for folder in folders if 'avatar-telemetry-' in str(folder)]\n"
    )
    done = run_python(program)
    assert done.returncode == 0, done.stderr


def test_the_folder_of_a_lone_process_goes_with_it() -> None:
    """A process without hooks removes its runtime folder when it ends."""
    program = SERVE_ONE + (
        "wrapped = instrument(application, profile=Profile('test'))\n"
        "environ = {}; setup_testing_defaults(environ)\n"
        "list(wrapped(environ, lambda *a: None))\n"
        "from avatar_telemetry.runtime.lifecycle import RUNTIME\n"
        "print(json.dumps([str(RUNTIME._folder.path), RUNTIME._folder.path.exists()]))\n"
    )
    done = run_python(program)
    path, existed = json.loads(done.stdout)
    assert existed
    assert not Path(path).exists()


@pytest.mark.parametrize("handled", [True, False])
def test_the_folder_of_a_lone_process_that_is_terminated(handled: bool) -> None:
    """With the documented handler it goes at SIGTERM, else with the next start."""
    program = SERVE_ONE + (
        "import signal\n"
        f"if {handled}: signal.signal(signal.SIGTERM, lambda number, frame: sys.exit())\n"
        "wrapped = instrument(application, profile=Profile('test'))\n"
        "environ = {}; setup_testing_defaults(environ)\n"
        "list(wrapped(environ, lambda *a: None))\n"
        "from avatar_telemetry.runtime.lifecycle import RUNTIME\n"
        "print(RUNTIME._folder.path, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    path = Path(run_python(program).stdout.strip())
    assert path.name.startswith("avatar-telemetry-")
    assert path.exists() is not handled
    test_the_folder_of_a_lone_process_goes_with_it()
    assert not path.exists()


def test_spans_and_metrics_of_a_lone_process_leave(sink: OtlpSink) -> None:  # noqa: F811
    """Without hooks the first request starts the export, and the end of the process sends all."""
    program = SERVE_ONE + (
        "wrapped = instrument(application, profile=Profile('test'))\n"
        "environ = {}; setup_testing_defaults(environ)\n"
        "list(wrapped(environ, lambda *a: None))\n"
    )
    environ = {"OTEL_EXPORT_ENABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url}
    done = run_python(program, **environ)
    assert done.returncode == 0, done.stderr
    assert {each.path for each in sink.exchanges()} == {"/v1/traces", "/v1/metrics"}


def test_a_lone_process_without_a_folder_goes_on(tmp_path: Path) -> None:
    """Where no folder can be made, requests are answered and nothing raises."""
    program = SERVE_ONE + (
        "import avatar_telemetry.metrics.folder as folder\n"
        "def broken(): raise OSError('no space')\n"
        "folder._make_private = broken\n"
        "wrapped = instrument(application, profile=Profile('test'))\n"
        "for _ in range(3):\n"
        "    environ = {}; setup_testing_defaults(environ)\n"
        "    assert list(wrapped(environ, lambda *a: None)) == [b'fine']\n"
        "environ = {'PATH_INFO': '/metrics', 'REMOTE_ADDR': '127.0.0.1'}\n"
        "setup_testing_defaults(environ)\n"
        "list(wrapped(environ, lambda *a: None))\n"
    )
    done = run_python(program)
    assert done.returncode == 0, done.stderr
    assert "internal telemetry error in start" in done.stderr


class Asynchronous:
    async def __call__(self, scope, receive, send):
        raise AssertionError


async def asynchronous(scope, receive, send):
    raise AssertionError


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        pytest.param(("app:app",), "'app:app' of type str", id="name"),
        pytest.param((None,), "None of type NoneType", id="None"),
        pytest.param((asynchronous,), "function asynchronous", id="ASGI function"),
        pytest.param((Asynchronous(),), "of type Asynchronous", id="ASGI instance"),
    ],
)
def test_what_is_no_application_is_refused_at_once(arguments, named: str) -> None:
    """The error names what came; nothing waits for the first request."""
    with pytest.raises(TypeError, match=named):
        instrument(*arguments)


def test_the_text_of_an_application_is_not_asked_for() -> None:
    """An application that can be called is wrapped, though its ``repr`` raises."""

    class Unprintable:
        def __call__(self, environ, start_response):
            raise AssertionError

        def __repr__(self) -> str:
            raise RuntimeError("not loaded yet")

    assert callable(instrument(Unprintable()))


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (
            {"profile": "ivatar"},
            r"instrument\(profile=\) takes a Profile, not 'ivatar' of type str",
        ),
        ({"settings": {}}, r"instrument\(settings=\) takes a Settings, not {} of type dict"),
    ],
)
def test_arguments_of_another_type_are_refused_at_once(more, named: str) -> None:
    """The same for the profile and the settings."""
    with pytest.raises(TypeError, match=named):
        instrument(application, **more)


def test_a_disabled_layer_refuses_it_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """With OTEL_SDK_DISABLED as well: the fault is one of the program."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    with pytest.raises(TypeError, match="app:app"):
        instrument("app:app")
