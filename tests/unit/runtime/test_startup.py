"""The checks before a server starts: what each refuses, and what it leaves in the process."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from pkgutil import iter_modules

import pytest

from avatar_telemetry import Settings, profiles
from avatar_telemetry._base.errors import SettingsError
from avatar_telemetry.config import parsing
from avatar_telemetry.profiles.ivatar import PROFILE
from avatar_telemetry.runtime import startup
from avatar_telemetry.runtime.startup import (
    check_app,
    check_endpoint,
    check_folder,
    check_in_child,
    check_profile,
    check_writable,
    faults_of,
    load_app,
    load_profile,
    log_started,
    warn_of_interpreter,
    warn_of_typos,
)
from tests.support.real_servers import hold_port

PROFILES = """
import os
from avatar_telemetry import Profile
PROFILE = Profile("mine")
NUMBER = 7
"""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose modules can be imported."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(
            sys.modules[name].__file__
        ):
            del sys.modules[name]


def test_a_profile_is_loaded() -> None:
    """By module and name."""
    assert load_profile("avatar_telemetry.profiles.ivatar:PROFILE") is PROFILE


def test_each_profile_of_the_package_has_a_short_name() -> None:
    """A setting may name it by that, and no other module is named."""
    modules = {each.name for each in iter_modules(profiles.__path__)}
    assert {"model", *parsing.PROFILES} == modules
    for name in parsing.PROFILES:
        settings = Settings.from_env({"AVATAR_TELEMETRY_PROFILE": name})
        assert load_profile(settings.profile).name == name


def test_an_unknown_profile_is_refused_with_the_known_ones() -> None:
    """The message has the short names."""
    with pytest.raises(SettingsError) as raised:
        Settings.from_env({"AVATAR_TELEMETRY_PROFILE": "django"})
    assert raised.value.faults == (
        "AVATAR_TELEMETRY_PROFILE='django': must be generic, ivatar or module:NAME",
    )


@pytest.mark.parametrize(
    ("reference", "fault"),
    [
        pytest.param("nowhere:PROFILE", "ModuleNotFoundError: No module", id="no module"),
        pytest.param("shapes:MISSING", "AttributeError: module 'shapes'", id="no attribute"),
        pytest.param("shapes:NUMBER", "ProfileError: a int, not a Profile", id="no profile"),
        pytest.param("raising:PROFILE", "ZeroDivisionError: division", id="raises"),
        pytest.param("leaving:PROFILE", "SystemExit: 3", id="exits"),
    ],
)
@pytest.mark.parametrize("check", [load_profile, check_profile])
def test_a_profile_that_cannot_be_loaded(modules: Path, check, reference: str, fault: str) -> None:
    """The message names variable, value and cause, loaded here as well as tried in a child."""
    (modules / "shapes.py").write_text(PROFILES)
    (modules / "raising.py").write_text("1 / 0\n")
    (modules / "leaving.py").write_text("raise SystemExit(3)\n")
    with pytest.raises(SettingsError) as raised:
        check(reference)
    (line,) = raised.value.faults
    assert line.startswith(f"AVATAR_TELEMETRY_PROFILE={reference!r}: must be module:NAME")
    assert fault in line


def test_a_checked_profile_leaves_no_module(modules: Path) -> None:
    """A reload imports the application's modules anew in its workers: the master keeps none."""
    (modules / "shapes.py").write_text(PROFILES)
    check_profile("shapes:PROFILE")
    assert "shapes" not in sys.modules


@pytest.mark.parametrize("status", [0, 1, 3])
def test_a_profile_whose_import_ends_the_process(modules: Path, status: int) -> None:
    """A module may end its process without an exception, and with any status."""
    (modules / "ending.py").write_text(f"import os\nos._exit({status})\n")
    with pytest.raises(SettingsError, match="its import ends the process"):
        check_profile("ending:PROFILE")


def test_what_a_checked_module_prints_is_no_output_of_ours(
    modules: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A command's output can be read by a program, so prints go to the error output."""
    (modules / "printing.py").write_text(PROFILES + "os.write(1, b'hello')\n")
    check_profile("printing:PROFILE")
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "hello")


def test_all_faults_of_a_check_come_back() -> None:
    """A message of several lines passes from the child."""

    def check() -> None:
        raise SettingsError("first", "second")

    with pytest.raises(SettingsError, match=r"first\n  second"):
        check_in_child(check, "silent")


@pytest.mark.parametrize(
    ("reference", "fault"),
    [
        pytest.param("nowhere:application", "ModuleNotFoundError", id="no module"),
        pytest.param("os:sep", "TypeError: not a WSGI application", id="not callable"),
        pytest.param("os:missing", "AttributeError", id="no attribute"),
        pytest.param(
            "os:getcwd()", "TypeError: not a WSGI application", id="factory of no application"
        ),
        pytest.param("os:getcwd(1)", "TypeError: ", id="factory with other arguments"),
    ],
)
def test_an_application_that_cannot_be_used(reference: str, fault: str) -> None:
    """The message names variable, value and cause."""
    with pytest.raises(
        SettingsError, match=re.escape(f"AVATAR_TELEMETRY_APP={reference!r}: {fault}")
    ):
        check_app(reference)


@pytest.mark.parametrize(
    "reference",
    [
        pytest.param("avatar_telemetry:instrument", id="name"),
        pytest.param("avatar_telemetry:Settings.from_env", id="attribute"),
        pytest.param("made:factory()", id="factory"),
        pytest.param("made:factory('x', ready=[True])", id="literal arguments"),
        pytest.param("made:Holder.factory()", id="factory of a class"),
    ],
)
def test_an_application_is_found(modules: Path, reference: str) -> None:
    """Anything that can be called may be one, or what a call returns, as with gunicorn."""
    (modules / "made.py").write_text(
        "def factory(name='', ready=()):\n    return print\n"
        "class Holder:\n    factory = staticmethod(factory)\n"
    )
    check_app(reference)


def test_the_arguments_of_a_factory_arrive(modules: Path) -> None:
    """Positional and named ones are literals."""
    (modules / "giving.py").write_text("def factory(*args, **named):\n    return args, named\n")
    assert load_app("giving:factory(1, 'a', b=[None])") == ((1, "a"), {"b": [None]})


def test_all_faults_of_several_checks_are_collected() -> None:
    """Each check is made, and what it finds is a line once."""

    def bad(*faults: str) -> Callable[[], object]:
        def check() -> None:
            raise SettingsError(*faults)

        return check

    assert faults_of(bad("a", "b"), lambda: None, bad("b", "c")) == ["a", "b", "c"]


@pytest.mark.parametrize("exporter", [True, False])
def test_a_port_in_use_is_named(exporter: bool) -> None:
    """With the variable, the fault and the fix; a free port is free afterwards."""
    with hold_port() as taken:
        host, port = taken.getsockname()
        if exporter:
            variable = "OTEL_EXPORTER_PROMETHEUS_PORT"
            environ = {
                "OTEL_METRICS_EXPORTER": "prometheus", "OTEL_EXPORTER_PROMETHEUS_HOST": host,
                variable: str(port),
            }  # fmt: skip
        else:
            variable = "OTEL_PROMETHEUS_ENDPOINT"
            environ = {variable: f"{host}:{port}"}
        settings = Settings.from_env(environ)
        check_endpoint(settings)
        check_endpoint(settings)
        taken.listen()
        with pytest.raises(SettingsError) as raised:
            check_endpoint(settings)
    assert raised.value.faults == (
        f"{variable}='{host}:{port}': Address already in use; end the program that uses it, or"
        " choose another port",
    )
    check_endpoint(Settings.from_env({}))


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_that_is_not_of_this_host(host: str) -> None:
    """The fix is another address, not another port."""
    settings = Settings.from_env({"OTEL_PROMETHEUS_ENDPOINT": f"{host}:9467"})
    with pytest.raises(SettingsError, match="; choose an address of this host"):
        check_endpoint(settings)


def test_probable_typing_errors_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A variable that is nearly one of ours is allowed, and is worth a warning."""
    warn_of_typos({"OTEL_TRACE_SAMPLER": "always_on"})
    assert "OTEL_TRACE_SAMPLER" in caplog.text
    caplog.clear()
    warn_of_typos({"OTEL_TRACES_SAMPLER": "always_on"})
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        pytest.param({}, "metrics at /metrics; export off; profile"
                     " avatar_telemetry.profiles.ivatar:PROFILE; privacy balanced", id="default"),
        pytest.param({"AVATAR_TELEMETRY_METRICS_PATH": ""}, "metrics not served;", id="no metrics"),
        pytest.param({"OTEL_PROMETHEUS_ENDPOINT": ":9467"},
                     "metrics at /metrics and on port 9467 of all addresses;", id="port"),
        pytest.param({"OTEL_EXPORT_ENABLED": "true", "OTEL_LOGS_EXPORTER": "otlp",
                      "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "https://c/l?key=hunter2",
                      "OTEL_TRACES_EXPORTER": "console,otlp", "OTEL_METRICS_EXPORTER": "none"},
                     "export traces to console and http://localhost:4318/v1/traces (http/protobuf),"
                     " logs to https://c/l (http/protobuf);", id="export"),
        pytest.param({"OTEL_EXPORT_ENABLED": "true", "OTEL_TRACES_EXPORTER": "none",
                      "OTEL_METRICS_EXPORTER": "none"}, "export off;", id="nothing to export"),
        pytest.param({"AVATAR_TELEMETRY_PRIVACY": "off"}, "privacy off", id="privacy"),
    ],
)  # fmt: skip
def test_a_start_is_one_line(
    caplog: pytest.LogCaptureFixture, environ: dict[str, str], line: str
) -> None:
    """Where the metrics are, what is sent where, profile and privacy; no secret of an endpoint."""
    with caplog.at_level(logging.INFO):
        log_started(Settings.from_env(environ))
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert line in record.getMessage()
    assert "hunter2" not in record.getMessage()


def test_a_folder_that_the_workers_cannot_use_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading, writing and searching are asked for, of the user who is acted as."""
    asked = []

    def access(path: Path, mode: int, *, effective_ids: bool) -> bool:
        asked.append((path, mode, effective_ids))
        return False

    check_writable(tmp_path)
    monkeypatch.setattr(os, "access", access)
    with pytest.raises(SettingsError, match=f"a directory that user id {os.geteuid()} can"):
        check_writable(tmp_path)
    assert asked == [(tmp_path, os.R_OK | os.W_OK | os.X_OK, True)]


@pytest.mark.parametrize("upgrades", [0, 7])
def test_a_folder_of_another_server_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, upgrades: int
) -> None:
    """The look at a named folder finds its server, but not the one that is replaced."""
    monkeypatch.setattr(startup, "living_masters", lambda path: [7, 8])
    others = "8" if upgrades else "7, 8"
    with pytest.raises(SettingsError, match=f"process {others} uses this one"):
        check_folder(str(tmp_path), upgrades)


def test_a_look_at_a_folder_makes_nothing(tmp_path: Path) -> None:
    """A folder that is not there yet is none that cannot be used; one that is stays as it is."""
    check_folder("", 0)
    check_folder(str(tmp_path / "later"), 0)
    check_folder(str(tmp_path), 0)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("mode", "exporter", "lines"),
    [(0o700, "auto", 0), (0o600, "auto", 1), (0o600, "process", 1), (0o600, "thread", 0)],
)
def test_interpreter_that_the_workers_cannot_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    mode: int, exporter: str, lines: int,
) -> None:  # fmt: skip
    """A line at the start says that the exporter cannot be started again."""
    program = tmp_path / "python"
    program.touch(mode)
    program.chmod(mode)
    monkeypatch.setattr(sys, "executable", str(program))
    warn_of_interpreter(Settings.from_env({"AVATAR_TELEMETRY_EXPORTER": exporter}))
    assert len(caplog.messages) == lines
    assert all(str(program) in line for line in caplog.messages)
