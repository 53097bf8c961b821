"""``instrument()`` under servers without our hooks: wsgiref, waitress, a lone process."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
import waitress

from avatar_telemetry import Profile, Settings, SettingsError, instrument
from avatar_telemetry.metrics import folder as folder_module
from avatar_telemetry.wsgi.middleware import TelemetryMiddleware
from tests.support.forked import in_child
from tests.support.otlp_fixtures import sink  # noqa: F401 - fixture
from tests.support.otlp_sink import OtlpSink
from tests.support.running import DEADLINE, environment

LONE_PROCESS = """
import os, signal, sys
from pathlib import Path
from wsgiref.util import setup_testing_defaults
from prometheus_client import Counter
from avatar_telemetry import Profile, instrument
from avatar_telemetry.metrics import folder

folder.base_dir = lambda: Path(sys.argv[1])  # each process that starts removes dead directories
counter = Counter("mine", "mine")

def application(environ, start_response):
    counter.inc()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"fine"]

def get(path):
    environ = {"PATH_INFO": path, "REMOTE_ADDR": "127.0.0.1"}
    setup_testing_defaults(environ)
    return b"".join(wrapped(environ, lambda *head: None))

wrapped = instrument(application, profile=Profile("test"))
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


def by_wsgiref(wrapped) -> tuple[int, Callable[[], None]]:
    class Quiet(WSGIRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """No news."""

    server = make_server("127.0.0.1", 0, wrapped, handler_class=Quiet)
    return server.server_port, server.serve_forever


def by_waitress(wrapped) -> tuple[int, Callable[[], None]]:
    server = waitress.create_server(wrapped, listen="127.0.0.1:0", threads=4)
    return int(server.effective_port), server.run


def counted(page: bytes) -> float:
    return sum(
        float(line.rpartition(b" ")[2])
        for line in page.splitlines()
        if line.startswith(b"ivatar_requests_total{")
    )


@pytest.mark.parametrize("make", [by_wsgiref, by_waitress])
def test_other_servers(
    make: Callable[..., tuple[int, Callable[[], None]]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Under any WSGI server requests are answered and counted, in this one process."""
    monkeypatch.setattr(folder_module, "base_dir", lambda: tmp_path)

    def work() -> None:
        port, run = make(instrument(application, profile=Profile("test")))
        threading.Thread(target=run, daemon=True).start()

        def fetch(path: str, body: bytes | None = None) -> bytes:
            url = f"http://127.0.0.1:{port}{path}"
            with urllib.request.urlopen(url, body, timeout=DEADLINE) as answer:
                return bytes(answer.read())

        assert counted(fetch("/metrics")) == 0
        assert fetch("/a") == b"/a "
        assert fetch("/b", b"posted") == b"/b posted"
        page = fetch("/metrics")
        assert counted(page) == 2
        assert b"gunicorn_workers" not in page
        assert b'process_threads{worker="0"}' in page
        assert b"python_info" in page, "what the application's own registry has stands there, too"

    in_child(work)


def run_python(program: str, *arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True,
        timeout=DEADLINE, env=environment(**env),
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


def serve_alone(folder: Path, program: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a lone process whose private runtime folder is in this one."""
    return run_python(LONE_PROCESS + program, folder, **env)


def test_the_folder_of_a_lone_process_goes_with_it(tmp_path: Path) -> None:
    """A process without hooks removes its runtime folder when it ends."""
    done = serve_alone(tmp_path, "get('/'); print(len(os.listdir(sys.argv[1])))")
    assert (done.stdout, done.returncode) == ("1\n", 0), done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("handled", [True, False])
def test_the_folder_of_a_lone_process_that_is_terminated(tmp_path: Path, handled: bool) -> None:
    """With the documented handler it goes at SIGTERM, else with the next start."""
    program = (
        f"if {handled}: signal.signal(signal.SIGTERM, lambda number, frame: sys.exit())\n"
        "get('/')\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    done = serve_alone(tmp_path, program)
    assert done.returncode == (0 if handled else -signal.SIGTERM), done.stderr
    assert len(list(tmp_path.iterdir())) == (0 if handled else 1)
    serve_alone(tmp_path, "get('/')")
    assert list(tmp_path.iterdir()) == []


def test_spans_and_metrics_of_a_lone_process_leave(sink: OtlpSink, tmp_path: Path) -> None:  # noqa: F811
    """Without hooks the first request starts the export, and the end of the process sends all."""
    done = serve_alone(
        tmp_path, "get('/')", OTEL_EXPORT_ENABLED="true", OTEL_EXPORTER_OTLP_ENDPOINT=sink.url,
        OTEL_EXPORTER_OTLP_TIMEOUT="30", AVATAR_TELEMETRY_FLUSH_TIMEOUT="60",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {each.path for each in sink.exchanges()} == {"/v1/traces", "/v1/metrics"}


def test_a_lone_process_without_a_folder_goes_on(tmp_path: Path) -> None:
    """Where no folder can be made, requests are answered and nothing raises."""
    program = (
        "def broken(): raise OSError('no space')\n"
        "folder._make_private = broken\n"
        "for _ in range(3): assert get('/') == b'fine'\n"
        "get('/metrics')\n"
    )
    done = serve_alone(tmp_path, program)
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
