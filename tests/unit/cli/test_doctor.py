"""The doctor's checks of settings, packages, runtime folder and metrics page."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from avatar_telemetry._base.version import VERSION
from avatar_telemetry.cli.checks import installed, runtime_dir
from avatar_telemetry.cli.checks.finding import Finding
from avatar_telemetry.cli.checks.installed import check_installed
from avatar_telemetry.cli.checks.page import check_page, check_port
from avatar_telemetry.cli.checks.runtime_dir import check_runtime_dir
from avatar_telemetry.cli.checks.settings import check_settings
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.exporter.port import CHALLENGE
from avatar_telemetry.metrics.folder import open_runtime_dir
from avatar_telemetry.metrics.slots import Holder, holders
from avatar_telemetry.probes import LIBRARY_PROBES
from avatar_telemetry.profiles.ivatar import PROFILE
from tests.support.real_servers import hold_port
from tests.support.running import PageServer, invoke

HOST = {"HOSTNAME": "a-host"}
ON = {**HOST, "OTEL_EXPORT_ENABLED": "true"}


def levels(findings: list[Finding]) -> dict[str, str]:
    """Every check that is not good, with its level; warnings and errors have advice."""
    assert all(each.advice for each in findings if each.level in ("warning", "error"))
    return {each.check: each.level for each in findings if each.level != "good"}


def env(text: str) -> dict[str, str]:
    """Variables from ``NAME=value NAME=value``; a name without a prefix is one of OpenTelemetry."""
    pairs = (each.partition("=") for each in text.split())
    known = ("OTEL_", "AVATAR_", "HOSTNAME")
    return {n if n.startswith(known) else f"OTEL_{n}": value for n, _, value in pairs}


def expected(text: str) -> dict[str, str]:
    """Checks and levels from ``level check, level check``."""
    return {check: level for level, check in (each.split() for each in text.split(",") if each)}


# Settings

OTLP = "EXPORTER_OTLP_"
KEEP = "AVATAR_TELEMETRY_KEEP"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("", ""),
        ("EXPORT_ENABLED=", "note settings.not_enabled"),
        (f"EXPORT_ENABLED= {OTLP}ENDPOINT=http://c:4318", "warning settings.not_enabled"),
        ("ENABLED=false", "warning settings.enabled_twice"),
        ("SDK_DISABLED=true", "warning settings.disabled"),
        (f"{OTLP}ENDPIONT=http://c:4318", "warning settings.misspelt"),
        ("SDK_DISABLED=1", "warning settings.ignored"),
        ("SEMCONV_STABILITY_OPT_IN=htp,database/dup", "warning settings.opt_in"),
        ("PYTHON_DISABLED_INSTRUMENTATIONS=x", ""),
        ("CONFIG_FILE=/etc/otel.yaml", "warning settings.unused"),
        ("HOSTNAME=localhost", "warning settings.hostname"),
        ("HOSTNAME=unknown EXPORT_ENABLED=", "note settings.hostname, note settings.not_enabled"),
        ("AVATAR_TELEMETRY_PRIVACY=off ENVIRONMENT=production", "warning settings.privacy"),
        ("AVATAR_TELEMETRY_METRICS_ALLOW=0.0.0.0/0", "warning settings.metrics_open"),
        (f"{OTLP}ENDPOINT=http://c {OTLP}HEADERS=a=b", "warning settings.headers_in_clear"),
        (f"{OTLP}ENDPOINT=http://127.0.0.1:4318 {OTLP}HEADERS=a=b", ""),
        ("TRACES_SAMPLER=always_off", "warning settings.sampler_off"),
        ("TRACES_SAMPLER=traceidratio TRACES_SAMPLER_ARG=0", "warning settings.sampler_off"),
        ("TRACES_SAMPLER=traceidratio TRACES_SAMPLER_ARG=0.1", ""),
        ("TRACES_EXPORTER=none", "note settings.signal_off"),
        ("PYTHON_EXCLUDED_URLS=.*", "warning settings.excluded"),
        ("AVATAR_TELEMETRY_RING_SIZE=100000000", "warning settings.memory"),
        ("BSP_MAX_QUEUE_SIZE=10 BSP_MAX_EXPORT_BATCH_SIZE=11", "warning settings.batch"),
        (f"{KEEP}=errors,slow:/avatar/{{digest}}:1s,slow:other:1s,auth_failures", ""),
        (f"{KEEP}=slow:/avatr/{{digest}}:1s", "warning settings.keep_unmatched"),
        (
            f"{KEEP}=auth_failures AVATAR_TELEMETRY_PROFILE=generic",
            "warning settings.keep_unmatched",
        ),
        (f"{KEEP}=slow:/any:1s AVATAR_TELEMETRY_PROFILE=generic", ""),
        (
            f"{KEEP}=errors TRACES_EXPORTER=none",
            "warning settings.keep_unused, note settings.signal_off",
        ),
    ],
)
def test_settings(given: str, found: str) -> None:
    """Values that are allowed but improbable are reported."""
    settings, findings = check_settings({**ON, **env(given)})
    assert settings is not None
    assert levels(findings) == expected(found)


@pytest.mark.parametrize(
    ("given", "others"),
    [
        ("AVATAR_TELEMETRY_PROFILE=no.such:P", set()),
        ("AVATAR_TELEMETRY_PROFILE=no.such:P AVATAR_TELEMETRY_PRIVCY=off", set()),
        ("AVATAR_TELEMETRY_PRIVACY=none BSP_MAX_QUEUE_SIZE=x", {"settings.ignored"}),
        (f"AVATAR_TELEMETRY_PRIVACY=x {OTLP}ENDPIONT=http://c", {"settings.misspelt"}),
    ],
)
def test_settings_that_stop_the_start(given: str, others: set[str]) -> None:
    """A fault that stops the start is an error, and hides no other finding."""
    settings, findings = check_settings(env(given))
    assert settings is None
    found = levels(findings)
    assert found.pop("settings.fault") == "error"
    assert set(found) == others


def test_a_rule_that_matches_nothing_is_named() -> None:
    """With the route that was probably intended."""
    _, findings = check_settings({**ON, KEEP: "slow:/avatr/{digest}:1s, slow:/nothing/like/it:1s"})
    found = [each for each in findings if each.check == "settings.keep_unmatched"]
    assert "no request matches slow:/avatr/{digest}" in found[0].message
    assert found[0].advice.startswith("Did you mean /avatar/{digest}?")
    assert found[1].advice.startswith("Name a route of the profile")


def test_the_profile_of_the_demo_is_named() -> None:
    """Without an application, the repository's entry point uses the profile of the demo."""
    _, findings = check_settings(HOST)
    assert "profile ivatar (demo, where the wsgi.py" in findings[0].message
    _, findings = check_settings({**HOST, "AVATAR_TELEMETRY_APP": "ivatar.wsgi:application"})
    assert "profile ivatar, balanced" in findings[0].message


# Packages


def test_the_installation_of_the_tests_is_good() -> None:
    """The environment of the tests meets the requirements."""
    findings = list(check_installed(Settings.from_env({}), PROFILE))
    assert not {"packages.version", "packages.not_installed"} & set(levels(findings))
    assert any("pymemcache" in each.message for each in findings if each.check == "packages.probes")


def test_packages_that_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that is missing, and one of another version, are errors."""
    wanted = ["no-such-package>=1", "click<1", "gunicorn", "rich>=99; extra == 'cli'"]
    monkeypatch.setattr(installed, "requires", lambda name: wanted)
    found = [each for each in check_installed(None, None) if each.level == "error"]
    assert [each.message.partition(":")[0] for each in found] == ["no-such-package", "click"]


def test_probes_that_are_off() -> None:
    """A probe that AVATAR_TELEMETRY_PROBES excludes is named, and does not apply."""
    settings = Settings.from_env({"AVATAR_TELEMETRY_PROBES": "-requests"})
    found = {each.check: each.message for each in check_installed(settings, PROFILE)}
    assert found["packages.probes_off"] == "probes that are off: requests"
    assert "requests" not in found["packages.probes"].replace(",", "").split()


def test_every_probe_has_its_module() -> None:
    """Each probe of a library is known to the doctor."""
    assert set(installed.PATCHED) == set(LIBRARY_PROBES)


# Runtime folder


def folder(path: object) -> list[Finding]:
    return list(check_runtime_dir(Settings.from_env({"PROMETHEUS_MULTIPROC_DIR": str(path)})))


def test_a_folder_that_is_not_there_is_made(tmp_path: Path) -> None:
    """A folder that can be made is good, and the check does not make it."""
    assert levels(folder(tmp_path / "new/metrics")) == {}
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        pytest.param(lambda path: None, "note directory.unused", id="empty"),
        pytest.param(
            lambda path: path.chmod(0o777), "error directory.open, note directory.unused", id="open"
        ),
        pytest.param(
            lambda path: (path / "notes.txt").touch(),
            "warning directory.shared, note directory.unused", id="shared",
        ),
        pytest.param(
            lambda path: (path.rmdir(), path.touch()), "error directory.no_directory", id="file"
        ),
    ],
)  # fmt: skip
def test_folder(tmp_path: Path, spoil: Any, found: str) -> None:
    """A folder that others can write to or use, and a file in its place, are reported."""
    path = tmp_path / "metrics"
    path.mkdir(mode=0o700)
    spoil(path)
    assert levels(folder(path)) == expected(found)


def test_a_server_that_ends_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory of a running server may be removed while it is read."""
    served = open_runtime_dir("", 0, os.geteuid(), os.getegid())

    def end(path: Path) -> list[Holder]:
        served.release()
        return holders(path)

    monkeypatch.setattr(runtime_dir, "served_dirs", lambda: [served.path])
    monkeypatch.setattr(runtime_dir, "holders", end)
    found = list(check_runtime_dir(Settings.from_env({})))
    assert [each.check for each in found] == ["directory.size", "directory.unused"]


def test_rights_are_those_of_the_user(tmp_path: Path) -> None:
    """A folder that this user cannot use is an error, and so is one that it cannot make."""
    root = os.geteuid() == 0
    tmp_path.chmod(0o700 if root else 0o100)
    program = (
        "import os, sys; from avatar_telemetry.cli.checks.runtime_dir import check_runtime_dir;"
        "from avatar_telemetry.config.settings import Settings; from pathlib import Path;"
        f"os.seteuid({65534 if root else os.geteuid()});"
        "print([each.check for name in sys.argv[1:] for each in"
        " check_runtime_dir(Settings.from_env({'PROMETHEUS_MULTIPROC_DIR': name}))])"
    )
    # Of its parents nobody else can see into, so both are looked at from inside.
    looked = subprocess.run(
        [sys.executable, "-c", program, ".", "new"], cwd=tmp_path, capture_output=True, text=True
    )
    assert looked.stdout.strip() == "['directory.rights', 'directory.rights']", looked.stderr


# The page of a server

BUILD = f'avatar_telemetry_build_info{{python="3",version="{VERSION}"}} 1.0\n'
TARGET = (
    'target_info{deployment_environment="development",service_instance_id="a-host",'
    'service_name="ivatar"} 1.0\n'
)
WORKERS = (
    'gunicorn_workers{state="idle"} 2.0\navatar_telemetry_slots_in_use 2.0\n'
    'process_resident_memory_bytes{worker="0"} 5e7\n'
)
REQUESTS = 'ivatar_requests_total{method="GET",path="/",status_code="200"} 50.0\n'
GOOD = BUILD + TARGET + WORKERS + REQUESTS
AVATARS = 'ivatar_avatar_requests_total{format="png",size="80",status_code="200"} 50.0\n'
EXPORTER_UP = "avatar_telemetry_exporter_up 1.0\n"
PUSHES = 'avatar_telemetry_metric_pushes_total{result="failed"} 2.0\n'
ERRORS = 'avatar_telemetry_internal_errors_total{where="finish"} 1.0\n'
SPANS = 'avatar_telemetry_spans_total{result="exported"} 9.0\n'
SENDING = GOOD + EXPORTER_UP + SPANS
SEEN = 'ivatar_avatar_cache_hits_total{format="png",size="80"} 50.0\n'


def examine(page: str, status: int = 200, given: str = "", **headers: str) -> Any:
    settings = Settings.from_env({**HOST, **env(given)})
    with PageServer(page, status, **headers) as server:
        return levels(list(check_page(settings, PROFILE, server.url, "", 60.0)))


def test_good_page() -> None:
    """Nothing is reported for a server that works."""
    assert examine(GOOD) == examine(SENDING, given="EXPORT_ENABLED=true") == {}


@pytest.mark.parametrize(
    ("page", "given", "found"),
    [
        (GOOD.replace(VERSION, "0.0.1"), "", "warning metrics_page.version"),
        (GOOD, "SERVICE_NAME=mine", "warning metrics_page.other_settings"),
        (BUILD + TARGET + REQUESTS, "", "warning metrics_page.no_hooks"),
        (GOOD + "gunicorn_backlog 9.0\n", "", "warning metrics_page.backlog"),
        (BUILD + TARGET + WORKERS, "", "warning metrics_page.no_requests"),
        (GOOD.replace('path="/"', 'path="other"'), "", "warning metrics_page.unknown_paths"),
        (GOOD.replace('code="200"', 'code="502"'), "", "warning metrics_page.errors"),
        (GOOD + AVATARS, "", "warning metrics_page.no_cache"),
        (GOOD + AVATARS + SEEN, "", "note metrics_page.none_made"),
        (GOOD + EXPORTER_UP, "EXPORT_ENABLED=true", "warning traces.none"),
        (SENDING + SPANS.replace("exported", "failed"), "", "warning traces.failed"),
        (SENDING + SPANS.replace("exported", "dropped"), "", "warning traces.dropped"),
        (GOOD + SPANS, "EXPORT_ENABLED=true", "warning metrics.not_pushed"),
        (GOOD + EXPORTER_UP.replace("1", "0"), "", "warning metrics.no_exporter"),
        (SENDING + PUSHES, "", "warning metrics.push_failed"),
        (GOOD + ERRORS, "", "warning metrics_page.internal_errors"),
        (GOOD + "avatar_telemetry_series_refused_total 1\n", "",
         "warning metrics_page.series_refused"),
        (GOOD + "avatar_telemetry_unreadable_files 1\n", "", "warning metrics_page.unreadable"),
        (GOOD.replace("5e7", "5e9"), "", "warning memory.high"),
    ],
)  # fmt: skip
def test_faults_on_the_page(page: str, given: str, found: str) -> None:
    """Everything that is missing or bad on a page has a name of its own."""
    assert examine(page, given=given) == expected(found)


@pytest.mark.parametrize(
    ("page", "status", "given", "check"),
    [
        ("Hello", 200, "", "not_shown"),
        ("", 404, "", "not_shown"),
        ("up 1.0\n", 200, "", "not_shown"),
        ("", 503, "", "failed"),
        ("<h1>Maintenance</h1>", 503, "", "unavailable"),
        ("", 502, "", "unavailable"),
        ("", 302, "", "redirect"),
        ("", 404, "AVATAR_TELEMETRY_METRICS_PATH=", "off"),
    ],
)
def test_no_page(page: str, status: int, given: str, check: str) -> None:
    """Where there is no page, the cause is reported."""
    found = examine(page, status, given, Location="/x")
    assert found == {f"metrics_page.{check}": "error"}


@pytest.mark.parametrize(
    ("page", "status", "challenge", "found"),
    [
        (GOOD, 200, "", ""),
        ("", 401, CHALLENGE, "warning metrics_port.token"),
        ("", 401, "Basic", "warning metrics_port.other_program"),
        ("Hello", 200, "", "warning metrics_port.other_program"),
    ],
)
def test_the_separate_port(page: str, status: int, challenge: str, found: str) -> None:
    """The port of OTEL_PROMETHEUS_ENDPOINT is read where it is set."""
    with PageServer(page, status, **{"WWW-Authenticate": challenge}) as server:
        address = server.url.removeprefix("http://127.0.0.1")
        settings = Settings.from_env({"OTEL_PROMETHEUS_ENDPOINT": f"0.0.0.0{address}"})
        assert levels(list(check_port(settings, "", 60.0))) == expected(found)


def test_the_separate_port_is_closed() -> None:
    """A closed port is a note; without a port there is no check."""
    with hold_port() as closed:
        settings = Settings.from_env(
            {"OTEL_PROMETHEUS_ENDPOINT": f"127.0.0.1:{closed.getsockname()[1]}"}
        )
        assert levels(list(check_port(settings, "", 60.0))) == {"metrics_port.closed": "note"}
    assert list(check_port(Settings.from_env({}), "", 60.0)) == []


def test_a_server_that_is_away() -> None:
    """A server without a response is an error."""
    found = list(check_page(Settings.from_env({}), PROFILE, "http://127.0.0.1:1", "", 5.0))
    assert levels(found) == {"metrics_page.no_response": "error"}


# Everything together


def test_faulty_settings_end_the_checks() -> None:
    """With faulty settings only they and the packages are checked."""
    ran = invoke("doctor", AVATAR_TELEMETRY_PRIVACY="none")
    assert ran.status == 2
    assert "AVATAR_TELEMETRY_PRIVACY='none': must be strict, balanced or off" in ran.out
    assert "collector" not in ran.out


def test_faults_come_first() -> None:
    """Errors, then warnings, with their names come before all that is good, which --quiet omits."""
    env = {
        "PROMETHEUS_MULTIPROC_DIR": "/dev/null", "AVATAR_TELEMETRY_METRICS_ALLOW": "0.0.0.0/0",
        "HOSTNAME": "a-host",
    }  # fmt: skip
    ran = invoke("doctor", **env)
    lines = ran.out.splitlines()
    assert ran.status == 2
    assert lines[0] == "errors and warnings"
    assert lines[1].startswith("  ERROR    directory.no_directory: ")
    assert lines[3].startswith("  warning  settings.metrics_open: ")
    assert ran.out.index("settings.metrics_open") < ran.out.index("  ok ")
    quiet = invoke("doctor", "--quiet", **env).out
    assert quiet == "\n".join([*lines[:5], lines[-1], ""])
    assert lines[-1] == "1 error, 1 warning."


@pytest.mark.parametrize(
    ("workers", "found"),
    [
        pytest.param("", "", id="unknown"),
        pytest.param("2", "", id="enough"),
        pytest.param("100000000", "warning directory.space", id="scarce"),
    ],
)
def test_space_for_all_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: str, found: str
) -> None:
    """Before a start there must be space for the files of as many workers as gunicorn will have."""
    monkeypatch.setenv("WEB_CONCURRENCY", workers)
    assert levels(folder(tmp_path / "new")) == expected(found)
