"""The start of a server: what it refuses, what it prepares, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.gunicorn_server import (
    APPS,
    SHARED_MEMORY,
    GunicornServer,
    Serve,
    await_port,
    recorded_masters,
)
from tests.support.paths import REPOSITORY
from tests.support.rows import PRELOAD, by_default, rows

BAD_PROFILES = {
    "missing": None,
    "nameless": "OTHER = 1",
    "no_profile": "PROFILE = 1",
    "raising": "raise ValueError('the profile is not ready')",
    "exiting": "import sys\nsys.exit('the profile ends the process')",
    "leaving": "import os\nos._exit(0)",
    "crashing": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
    "interrupted": "raise KeyboardInterrupt",
    "syntax": "def",
    "bad_route": (
        "from avatar_telemetry import Profile, Route\n"
        "PROFILE = Profile('bad', routes=(Route('(', '/'),))"
    ),
}


def assert_refused(server: GunicornServer, *words: str) -> str:
    """It ends before any worker, says why in its own words, and leaves no folder."""
    status, output = server.run_to_end()
    assert status not in (0, None)
    assert "Traceback" not in output
    assert "Booting worker" not in output
    for word in words:
        assert output.count(word) == 1, output
    left = [each for each in SHARED_MEMORY.glob("avatar-*") if server.pid in recorded_masters(each)]
    assert not left
    return output


@pytest.mark.parametrize("preload", by_default("import", PRELOAD))
def test_bad_settings(prepare: Serve, preload: bool) -> None:
    """Every bad variable is told at once."""
    server = prepare(
        preload_app=preload,
        env={
            "AVATAR_TELEMETRY_PRIVACY": "some",
            "AVATAR_TELEMETRY_METRICS_TOKEN": "a b",
            "AVATAR_TELEMETRY_SIZE": "80",
            "OTEL_EXPORT_ENABLED": "perhaps",
        },
    )
    output = assert_refused(
        server,
        "AVATAR_TELEMETRY_PRIVACY='some'",
        "unknown variable AVATAR_TELEMETRY_SIZE",
        "OTEL_EXPORT_ENABLED=",
    )
    assert "a b" not in output


@pytest.mark.parametrize("preload", by_default("preload", PRELOAD))
def test_perhaps_misspelt(serve: Serve, preload: bool) -> None:
    """What was perhaps misspelt, and is not forbidden, is told once and stops nothing."""
    server = serve(
        preload_app=preload,
        env={
            "OTEL_EXPORTER_OTLP_ENDPIONT": "http://collector:4318",
            "OTEL_SEMCONV_STABILITY_OPT_IN": "htp,database",
        },
    )
    server.get("/avatar/abc")
    server.await_requests(1)
    assert server.log().count("Did you mean OTEL_EXPORTER_OTLP_ENDPOINT?") == 1
    assert server.log().count("OTEL_SEMCONV_STABILITY_OPT_IN: unknown value 'htp'.") == 1
    assert "database" not in server.log()


@pytest.mark.parametrize("preload", by_default("preload", PRELOAD))
def test_a_healthy_start_says_what_it_does(serve: Serve, preload: bool) -> None:
    """One line in gunicorn's log says where metrics and export go; a value that the specification
    ignores is a warning there, and does not switch the server off."""
    server = serve(preload_app=preload, env={"OTEL_SDK_DISABLED": "1"})
    server.get("/avatar/abc")
    server.await_requests(1)
    lines = [line for line in server.log().splitlines() if "avatar_telemetry: metrics" in line]
    assert len(lines) == 1
    assert "[INFO] avatar_telemetry: metrics at /metrics; export off; profile" in lines[0]
    assert server.log().count("[WARNING] OTEL_SDK_DISABLED='1': must be true or false") == 1


@pytest.mark.parametrize("preload", by_default("preload", PRELOAD))
def test_bad_settings_in_raw_env(prepare: Serve, preload: bool) -> None:
    """Variables that the configuration sets are checked like those of the environment."""
    server = prepare(preload_app=preload, raw_env=["AVATAR_TELEMETRY_METRICS_PATH=metrics"])
    assert_refused(server, "AVATAR_TELEMETRY_METRICS_PATH='metrics'")


@pytest.mark.parametrize("name", by_default("raising", rows(*BAD_PROFILES)))
def test_bad_profile(prepare: Serve, name: str) -> None:
    """A profile that cannot be imported stops the start, whatever its module does."""
    reference = f"{name}_profile:PROFILE"
    server = prepare(env={"AVATAR_TELEMETRY_PROFILE": reference})
    source = BAD_PROFILES[name]
    if source is not None:
        (server.path / f"{name}_profile.py").write_text(source + "\n")
    assert_refused(server, f"AVATAR_TELEMETRY_PROFILE='{reference}'")


def test_bad_profile_with_preload(prepare: Serve) -> None:
    """The same where the application was imported before."""
    server = prepare(preload_app=True, env={"AVATAR_TELEMETRY_PROFILE": "no.such:PROFILE"})
    assert_refused(server, "AVATAR_TELEMETRY_PROFILE='no.such:PROFILE'")


def test_profile_beside_the_application(serve: Serve, tmp_path: Path) -> None:
    """A profile is found where gunicorn finds the application (chdir)."""
    beside = tmp_path / "beside"
    beside.mkdir()
    (beside / "own_profile.py").write_text(
        "from avatar_telemetry import Profile, Route\n"
        "PROFILE = Profile('own', routes=(Route(r'^/own\\Z', '/own'),))\n"
    )
    server = serve(
        "plain:application",
        chdir=str(beside),
        env={"AVATAR_TELEMETRY_PROFILE": "own_profile:PROFILE"},
    )
    server.get("/own")
    server.await_requests(1, path="/own")


def test_port_in_use(prepare: Serve, serve: Serve, port: int) -> None:
    """A separate port that is taken stops the start."""
    address = {"OTEL_PROMETHEUS_ENDPOINT": f"127.0.0.1:{port}"}
    serve(name="first", env=address)
    await_port(port)
    assert_refused(prepare(env=address), f"OTEL_PROMETHEUS_ENDPOINT='127.0.0.1:{port}'")


def test_named_folder(serve: Serve, tmp_path: Path) -> None:
    """A named folder is made, used, and emptied of our own files only."""
    named = tmp_path / "made" / "here"
    named.mkdir(parents=True)
    kept = ("notes.txt", "counter.txt", "other_1.db", "slot-x.lock", "mine.lock")
    stale = ("counter_0.db", "gauge_livesum_1.db", "histogram_master.db", "slot-3.lock")
    for name in kept + stale:
        (named / name).write_text("something")
    server = serve(env={"PROMETHEUS_MULTIPROC_DIR": str(named)})
    server.get("/avatar/abc")
    server.await_requests(1)
    names = {path.name for path in named.iterdir()}
    assert names >= {*kept, "slot-0.lock", "slot-1.lock", "counter_s0.db"}
    assert not names & {"slot-3.lock", "gauge_livesum_1.db.corrupt", "counter_0.db.corrupt"}
    server.exporter()
    server.close()
    assert {path.name for path in named.iterdir()} == {*kept, "folder.lock"}
    assert {(named / name).read_text() for name in kept} == {"something"}


def test_named_folder_in_use(prepare: Serve, serve: Serve, tmp_path: Path) -> None:
    """A second server on a folder in use is refused; the first goes on undisturbed."""
    named = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "named")}
    first = serve(name="first", env=named)
    first.get("/avatar/abc")
    second = prepare(name="second", env=named, pidfile=str(tmp_path / "pid"))
    assert_refused(
        second, "the runtime directory is in use", str(tmp_path / "named"), f"{first.pid}"
    )
    assert not (tmp_path / "pid").exists()
    first.get("/avatar/abc")
    first.await_requests(2)


def test_named_folder_that_is_a_file(prepare: Serve, tmp_path: Path) -> None:
    """A runtime folder that cannot be made stops the start."""
    (tmp_path / "file").touch()
    server = prepare(env={"PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "file")})
    assert_refused(server, f"PROMETHEUS_MULTIPROC_DIR='{tmp_path / 'file'}'")


def test_two_servers(serve: Serve) -> None:
    """Two servers on one machine count apart, in folders of their own."""
    first, second = serve(name="first"), serve(name="second", worker_class="gthread")
    assert first.runtime_folder != second.runtime_folder
    for _ in range(3):
        first.get("/avatar/abc")
    second.get("/avatar/abc")
    first.await_requests(3)
    second.await_requests(1)
    second.close()
    first.get("/avatar/abc")
    first.await_requests(4)


@pytest.mark.parametrize("preload", by_default("import", PRELOAD))
def test_switched_off(serve: Serve, preload: bool) -> None:
    """OTEL_SDK_DISABLED leaves the application untouched, and the start logs it."""
    server = serve(preload_app=preload, env={"OTEL_SDK_DISABLED": "true"})
    answer = server.get("/metrics")
    assert (answer.status, answer.text) == (200, "a page")
    assert server.get("/avatar/abc").body == b"hello"
    assert server.folder() is None
    assert server.log().count("avatar_telemetry: off (OTEL_SDK_DISABLED=true)") == 1
    assert "Traceback" not in server.log()


@pytest.mark.parametrize("preload", by_default("preload", PRELOAD))
def test_check_config(prepare: Serve, preload: bool) -> None:
    """gunicorn --check-config says that all is well, and leaves no folder."""
    before = set(SHARED_MEMORY.glob("avatar-telemetry-*"))
    server = prepare(preload_app=preload, arguments=("--check-config",))
    status, output = server.run_to_end()
    assert (status, output) == (0, "")
    fresh = set(SHARED_MEMORY.glob("avatar-telemetry-*")) - before
    assert not [each for each in fresh if server.pid in recorded_masters(each)]


def test_page_and_folder_of_a_server_without_hooks(serve: Serve) -> None:
    """Without our hooks each worker counts for itself, and leaves nothing when it ends."""
    server = serve(hooks="", workers=1)
    folders = set(SHARED_MEMORY.glob("avatar-telemetry-*"))
    server.get("/avatar/abc")
    server.await_requests(1)
    (worker,) = server.workers()
    (own,) = [each for each in folders if worker in recorded_masters(each)]
    server.close()
    assert not own.exists()


@pytest.mark.parametrize("preload", by_default("import", PRELOAD))
@pytest.mark.parametrize(
    ("env", "message"),
    by_default("demo", [
        pytest.param({"AVATAR_TELEMETRY_APP": "nosuch:app"},
                     "AVATAR_TELEMETRY_APP='nosuch:app': No module named 'nosuch'", id="no module"),
        pytest.param({"AVATAR_TELEMETRY_APP": "my-app:application"},
                     "_APP='my-app:application': must be module:NAME", id="form"),
        pytest.param({"DEMO_MAX_UPLOAD": "lots"},
                     "DEMO_MAX_UPLOAD: 'lots' is not a positive number", id="demo"),
    ]),
)  # fmt: skip
def test_what_cannot_be_served(
    prepare: Serve, env: dict[str, str], message: str, preload: bool
) -> None:
    """A wrong application, or a bad variable of the demo, is reported once by name, however many
    workers meet it, and the server ends."""
    server = prepare(
        "wsgi:application",
        workers=3,
        pythonpath=f"{REPOSITORY},{APPS}",
        preload_app=preload,
        env=env,
    )
    status, output = server.run_to_end()
    assert status not in (0, None)
    assert output.count(message) == 1
    assert "Traceback" not in output


@pytest.mark.parametrize("preload", by_default("import", PRELOAD))
def test_an_application_whose_import_fails(prepare: Serve, tmp_path: Path, preload: bool) -> None:
    """Its traceback and the variable that names it are in the log once."""
    (tmp_path / "unready.py").write_text("raise ValueError('no database')")
    server = prepare(
        "wsgi:application",
        workers=3,
        pythonpath=f"{REPOSITORY},{tmp_path}",
        preload_app=preload,
        env={"AVATAR_TELEMETRY_APP": "unready:app"},
    )
    status, output = server.run_to_end()
    assert status not in (0, None)
    assert output.count("AVATAR_TELEMETRY_APP='unready:app': ValueError: no database") == 1
    assert output.count("Traceback") == output.count('unready.py", line 1') == 1


@pytest.mark.parametrize(
    ("app", "profile"),
    by_default("demo", [
        pytest.param("", "avatar_demo.profile:PROFILE", id="demo"),
        pytest.param("avatars:application", "avatar_telemetry.profiles.ivatar:PROFILE", id="own"),
    ]),
)  # fmt: skip
def test_the_start_names_the_profile_that_is_used(serve: Serve, app: str, profile: str) -> None:
    """The repository's configuration serves the demo with the demo's profile."""
    server = serve(
        "wsgi:application",
        pythonpath=f"{REPOSITORY},{APPS}",
        hooks="",
        config=(REPOSITORY / "gunicorn.conf.py").read_text().replace("bind =", "unused ="),
        env={"AVATAR_TELEMETRY_APP": app, "AVATAR_TELEMETRY_PROFILE": None},
    )
    assert f"profile {profile};" in server.log()


@pytest.mark.parametrize("preload", by_default("import", PRELOAD))
def test_a_hook_that_is_forgotten(serve: Serve, preload: bool) -> None:
    """Without ``on_starting`` nothing is recorded; that is told, and the application goes on."""
    hooks = "child_exit, on_exit, post_fork, worker_exit"
    server = serve(hooks=hooks, preload_app=preload)
    assert server.get("/avatar/abc").body == b"hello"
    assert "the hook on_starting did not run" in server.log()
    assert "Traceback" not in server.log()


HELLO = """
import functools, os, time
from pathlib import Path

def hello(environ, start_response):
    if environ["PATH_INFO"] == "/wait":
        Path("held.in").write_text(str(os.getpid()))
        while not Path("held.go").exists():
            time.sleep(0.01)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]
"""
APPLICATIONS = {
    "unwrapped": "application = hello",
    "wrapped": "from avatar_telemetry import instrument\napplication = instrument(hello)",
    "lazy": """
@functools.cache
def wrapped():
    from avatar_telemetry import instrument
    return instrument(hello)

def application(environ, start_response):
    return wrapped()(environ, start_response)
""",
    "opentelemetry": """
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
application = OpenTelemetryMiddleware(hello)
""",
}


@pytest.mark.parametrize("preload", by_default("preload", PRELOAD))
@pytest.mark.parametrize("name", rows(*APPLICATIONS))
def test_an_application_that_is_not_wrapped(
    serve: Serve, tmp_path: Path, name: str, preload: bool
) -> None:
    """One warning of all workers that served it; none where it is wrapped late, or by purpose
    with another middleware."""
    (tmp_path / "mine.py").write_text(HELLO + APPLICATIONS[name])
    server = serve(
        "mine:application",
        pythonpath=str(tmp_path),
        preload_app=preload,
        env={"OTEL_EXPORT_ENABLED": "true", "OTEL_TRACES_EXPORTER": "none",
             "OTEL_METRICS_EXPORTER": "none"},
    )  # fmt: skip

    held = server.hold()
    assert server.get("/").body == b"hello"  # by the other worker
    server.let_go()
    held.join()
    assert "not wrapped" not in server.log()
    server.close()
    line = "[WARNING] requests are not recorded: the hooks run, but the application is not wrapped"
    assert server.log().count(line) == (name == "unwrapped")
    assert not server.tracebacks()


@pytest.mark.parametrize("preload", by_default("preload", PRELOAD))
def test_a_propagator_that_is_not_installed(serve: Serve, preload: bool) -> None:
    """It is ignored with one warning, though OpenTelemetry would raise at its import."""
    server = serve(
        preload_app=preload,
        env={
            "OTEL_PROPAGATORS": "pigeon", "OTEL_EXPORT_ENABLED": "true",
            "OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none",
        },
    )  # fmt: skip
    server.get("/avatar/abc")
    server.await_requests(1)
    assert server.log().count("OTEL_PROPAGATORS='pigeon': must be") == 1
    assert "internal telemetry error" not in server.log()
    assert "failed" not in server.log()
