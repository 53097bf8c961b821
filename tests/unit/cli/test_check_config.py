"""``check-config`` and ``settings``: the checks of the server's start, without a server."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from dataclasses import astuple
from pathlib import Path

import pytest

from avatar_telemetry.cli.reference import markdown
from avatar_telemetry.config.settings import variables
from tests.support.forked import in_child
from tests.support.paths import REPOSITORY
from tests.support.running import DEADLINE, PageServer, Ran, environment, invoke, run

PAGE = REPOSITORY / "docs/settings.md"
# Each command in a forked child, which imports the application anew.
ONE_AFTER_THE_OTHER = """
import os
from avatar_telemetry.cli import main
for arguments in (["check-config"], ["doctor", "--no-send"], ["routes", "/avatar/a"]):
    if os.fork() == 0:
        main(arguments)
    os.wait()
"""


def invoke_in_child(*arguments: object, **env: str) -> Ran:
    """A check of the application forks, which a process with threads does not do."""
    return Ran(*in_child(lambda: astuple(invoke(*arguments, **env))))


def test_good_settings_are_shown() -> None:
    """Each setting has its value and its source; a secret is not shown."""
    ran = invoke(
        "check-config", "--json", OTEL_ENABLED="true", OTEL_SERVICE_NAME="mine",
        AVATAR_TELEMETRY_METRICS_TOKEN="very-secret-token",
        OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:4318",
    )  # fmt: skip
    assert ran.status == 0
    shown = {row["variable"]: (row["value"], row["from"]) for row in ran.json()["settings"]}
    assert (ran.json()["status"], ran.json()["faults"]) == (0, [])
    assert shown == {
        "HOSTNAME": ("a-host", "set"),
        "OTEL_EXPORT_ENABLED": ("true", "OTEL_ENABLED"),
        "OTEL_SERVICE_NAME": ("mine", "set"),
        "AVATAR_TELEMETRY_METRICS_TOKEN": ("(set, not shown)", "set"),
        "OTEL_EXPORTER_OTLP_ENDPOINT": ("http://collector:4318", "set"),
    }
    assert "very-secret" not in ran.out + ran.err


def test_all_settings_are_shown_on_demand() -> None:
    """``--all`` shows every variable, with its default."""
    shown = invoke("check-config", "--all").out
    assert "OTEL_BSP_MAX_QUEUE_SIZE" in shown
    assert "2048" in shown


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("AVATAR_TELEMETRY_PRIVCY", "off", "did you mean AVATAR_TELEMETRY_PRIVACY"),
        ("OTEL_PROMETHEUS_ENDPOINT", "9464", "OTEL_PROMETHEUS_ENDPOINT='9464'"),
        ("OTEL_PROMETHEUS_ENDPOINT", "192.0.2.1:9464", "OTEL_PROMETHEUS_ENDPOINT='192.0.2.1:9464'"),
        ("AVATAR_TELEMETRY_PROFILE", "no.such:P", "No module named"),
        ("AVATAR_TELEMETRY_APP", "no_such:app", "_APP='no_such:app': ModuleNotFoundError"),
        ("AVATAR_TELEMETRY_APP", "os:sep", "not a WSGI application"),
        ("AVATAR_TELEMETRY_KEEP", "erors", "'erors': unknown rule; did you mean errors?"),
        ("PROMETHEUS_MULTIPROC_DIR", __file__, f"PROMETHEUS_MULTIPROC_DIR={__file__}"),
    ],
)  # fmt: skip
def test_faults_are_named(variable: str, value: str, words: str) -> None:
    """A fault that would stop the server ends the command with status 2 and the same message."""
    ran = invoke_in_child("check-config", **{variable: value})
    assert ran.status == 2
    assert words in ran.err


def test_a_rule_that_matches_nothing_is_a_warning() -> None:
    """The server would start; the log has the rule and its fix."""
    ran = run(
        "check-config", OTEL_EXPORT_ENABLED="true", AVATAR_TELEMETRY_KEEP="slow:/avatr/{digest}:1s"
    )
    assert ran.status == 0
    assert "no request matches slow:/avatr/{digest}. Did you mean /avatar/{digest}?" in ran.err


def test_all_faults_are_named_at_once() -> None:
    """Every fault that stops the start is reported, as text and as JSON."""
    env = {
        "AVATAR_TELEMETRY_PROFILE": "no.such:P", "AVATAR_TELEMETRY_APP": "no_such:app",
        "PROMETHEUS_MULTIPROC_DIR": __file__, "OTEL_TRACE_SAMPLER": "always_on",
        "AVATAR_TELEMETRY_PRIVACY": "some",
    }  # fmt: skip
    text = run("check-config", **env)
    faults = [line.strip() for line in text.err.splitlines() if "='" in line or "directory" in line]
    for variable in ("_PRIVACY=", "_PROFILE=", "_APP=", "_MULTIPROC_DIR="):
        assert variable in text.err
    assert "Did you mean OTEL_TRACES_SAMPLER?" in text.err
    ran = run("check-config", "--json", **env)
    assert ran.status == ran.json()["status"] == text.status == 2
    assert set(ran.json()["faults"]) <= set(faults) and len(ran.json()["faults"]) == 4
    assert {each["variable"] for each in ran.json()["settings"]} >= {"AVATAR_TELEMETRY_PRIVACY"}


def test_json_has_the_warnings_and_nothing_else(tmp_path: Path) -> None:
    """The JSON has the ignored variables, and nothing that the profile's module prints."""
    (tmp_path / "noisy.py").write_text(
        "from avatar_telemetry import Profile\nprint('noise')\nPROFILE = Profile('mine')\n"
    )
    ran = run(
        "check-config", "--json", cwd=tmp_path, AVATAR_TELEMETRY_PROFILE="noisy:PROFILE",
        OTEL_TRACES_SAMPLER="often", OTEL_TRACE_SAMPLER="always_on",
    )  # fmt: skip
    assert ran.status == ran.json()["status"] == 0
    ignored, misspelt = ran.json()["warnings"]
    assert ignored.startswith("OTEL_TRACES_SAMPLER='often'")
    assert misspelt.endswith("Did you mean OTEL_TRACES_SAMPLER?")
    assert "noise" in ran.err


def test_the_application_is_imported_apart(tmp_path: Path) -> None:
    """Output and threads of the application's import have no effect on the command."""
    (tmp_path / "noisy.py").write_text(
        "import threading\nprint('noise', flush=True)\n"
        "threading.Thread(target=threading.Event().wait).start()\napplication = print\n"
    )
    ran = run("check-config", "--json", cwd=tmp_path, AVATAR_TELEMETRY_APP="noisy:application")
    assert ran.status == 0
    assert {row["variable"] for row in ran.json()["settings"]} == {
        "AVATAR_TELEMETRY_APP",
        "HOSTNAME",
    }


def test_the_application_counts_nothing_into_a_running_server(tmp_path: Path) -> None:
    """Metrics that a module makes when it is imported stay out of the folder of a server."""
    (tmp_path / "counting.py").write_text(
        "from prometheus_client import Counter, Gauge\n"
        "Counter('mine', 'Imports.').inc()\nGauge('my_gauge', 'One.').set(1)\n"
        "import os; os.write(1, b'counting was imported\\n')\n"
        "from avatar_telemetry import Profile\nPROFILE = Profile('mine')\napplication = print\n"
    )
    folder = tmp_path / "runtime"
    folder.mkdir()
    chosen = environment(
        PROMETHEUS_MULTIPROC_DIR=str(folder), AVATAR_TELEMETRY_APP="counting:application",
        AVATAR_TELEMETRY_PROFILE="counting:PROFILE",
    )  # fmt: skip
    ended = subprocess.run(
        [sys.executable, "-c", ONE_AFTER_THE_OTHER], cwd=tmp_path, env=chosen, timeout=DEADLINE,
        capture_output=True, text=True,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout.count("counting was imported")) == (0, 3), ended.stderr
    assert list(folder.iterdir()) == []


def test_the_token_is_not_sent() -> None:
    """The request to the metrics port has no token: any program may listen there."""
    with PageServer("no", 401) as other:
        invoke(
            "check-config", OTEL_PROMETHEUS_ENDPOINT=other.url.removeprefix("http://"),
            AVATAR_TELEMETRY_METRICS_TOKEN="very-secret-token",
        )  # fmt: skip
    assert other.asked
    assert not any("authorization" in headers for headers in other.headers)


@pytest.mark.parametrize(
    ("challenge", "status"),
    [
        pytest.param('Bearer realm="avatar-telemetry"', 0, id="ours"),
        pytest.param('Basic realm="registry"', 2, id="other realm"),
    ],
)
def test_a_port_that_wants_a_token(challenge: str, status: int) -> None:
    """The port of the server that is to be restarted is known by how it asks for its token."""
    with PageServer("no", 401, **{"WWW-Authenticate": challenge}) as server:
        address = server.url.removeprefix("http://")
        ran = invoke("check-config", OTEL_PROMETHEUS_ENDPOINT=address)
    assert ran.status == status, ran.err


def test_a_query_is_not_shown() -> None:
    """A URL is shown without its query, which may hold a key."""
    ran = invoke("check-config", OTEL_EXPORTER_OTLP_ENDPOINT="http://collector:4318/x?key=secret")
    assert ran.status == 0
    assert "http://collector:4318/x?(set, not shown)" in ran.out
    assert "secret" not in ran.out


def test_a_port_of_another_program() -> None:
    """A metrics port that another program holds would stop the start."""
    with PageServer("something else") as other:
        address = other.url.removeprefix("http://")
        ran = invoke("check-config", OTEL_PROMETHEUS_ENDPOINT=address)
    assert ran.status == 2
    assert f"OTEL_PROMETHEUS_ENDPOINT='{address}': Address already in use" in ran.err


def test_a_profile_of_the_working_directory_is_found(tmp_path: Path) -> None:
    """Modules are imported from where the command is started, as gunicorn does."""
    (tmp_path / "my_profile.py").write_text(
        "from avatar_telemetry import Profile\nPROFILE = Profile('mine')\n"
    )
    script = Path(sysconfig.get_path("scripts")) / "avatar-telemetry"
    ran = subprocess.run(
        [sys.executable, script, "check-config"], cwd=tmp_path, capture_output=True, text=True,
        env=environment(AVATAR_TELEMETRY_PROFILE="my_profile:PROFILE"), timeout=DEADLINE,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr


def test_the_reference_is_the_tables() -> None:
    """The page of the documentation is what the command writes."""
    assert PAGE.read_text(encoding="utf-8") == markdown(), (
        "run: avatar-telemetry settings --markdown"
    )
    assert invoke("settings", "--markdown").out == markdown()


def test_the_reference_is_whole() -> None:
    """Every variable stands on the page, those of one signal by their rule."""
    page = markdown()
    for each in variables():
        name = each.variable
        for signal in ("TRACES_", "METRICS_", "LOGS_"):
            if each.alias and each.alias.startswith("OTEL_EXPORTER_OTLP_"):
                name = name.replace(f"OTLP_{signal}", "OTLP_")
        assert f"`{name}`" in page


def test_settings_are_searched() -> None:
    """A word finds the settings with it in name or meaning."""
    shown = invoke("settings", "privacy").out
    assert "AVATAR_TELEMETRY_PRIVACY" in shown
    assert "OTEL_BSP_MAX_QUEUE_SIZE" not in shown
    assert invoke("settings", "queue", "--json").json()[0]["variable"] == "OTEL_BSP_MAX_QUEUE_SIZE"


def test_ignored_values_are_warnings() -> None:
    """A bad value that the specification ignores does not stop the server, and is named."""
    ran = run("check-config", OTEL_SDK_DISABLED="1", OTEL_TRACES_SAMPLER="often")
    assert ran.status == 0
    assert ran.err.count("OTEL_SDK_DISABLED='1': must be true or false") == 1
    assert ran.err.count("OTEL_TRACES_SAMPLER='often': must be always_on") == 1
