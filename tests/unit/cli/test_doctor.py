"""The doctor at the settings, the packages, the runtime folder and a server's metrics page."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from avatar_telemetry.cli.checks import installed
from avatar_telemetry.cli.checks.finding import Finding
from avatar_telemetry.cli.checks.installed import check_installed
from avatar_telemetry.cli.checks.page import check_page, check_port
from avatar_telemetry.cli.checks.runtime_folder import check_folder
from avatar_telemetry.cli.checks.settings import check_settings
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.probes import OF_LIBRARIES
from avatar_telemetry.profiles.ivatar import PROFILE
from avatar_telemetry.scrape.port import CHALLENGE
from avatar_telemetry.version import VERSION
from tests.support.real_servers import hold_port
from tests.support.running import PageServer, invoke

HOST = {"HOSTNAME": "a-host"}
ON = {**HOST, "OTEL_EXPORT_ENABLED": "true"}


def levels(findings: list[Finding]) -> dict[str, str]:
    """Everything but what is good; what is bad says what to do."""
    assert all(each.advice for each in findings if each.level in ("warning", "error"))
    return {each.check: each.level for each in findings if each.level != "good"}


# Settings


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        pytest.param(ON, {}, id="enabled"),
        pytest.param({"OTEL_EXPORT_ENABLED": "true"}, {}, id="the-hosts-name"),
        pytest.param(HOST, {"settings.not_enabled": "note"}, id="not-enabled"),
        pytest.param(
            {**HOST, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"},
            {"settings.not_enabled": "warning"}, id="endpoint-and-not-enabled",
        ),
        pytest.param(
            {**ON, "OTEL_ENABLED": "false"}, {"settings.enabled_twice": "warning"}, id="both"
        ),
        pytest.param(
            {**ON, "OTEL_SDK_DISABLED": "true"}, {"settings.disabled": "warning"}, id="disabled"
        ),
        pytest.param(
            {**ON, "OTEL_EXPORTER_OTLP_ENDPIONT": "http://c:4318"},
            {"settings.misspelt": "warning"}, id="misspelt",
        ),
        pytest.param(
            {**ON, "OTEL_SDK_DISABLED": "1"}, {"settings.ignored": "warning"}, id="ignored"
        ),
        pytest.param(
            {**ON, "OTEL_SEMCONV_STABILITY_OPT_IN": "htp,database/dup"},
            {"settings.opt_in": "warning"}, id="opt-in",
        ),
        pytest.param({**ON, "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "x"}, {}, id="somebody-elses"),
        pytest.param(
            {**ON, "OTEL_CONFIG_FILE": "/etc/otel.yaml"}, {"settings.unused": "warning"},
            id="unused",
        ),
        pytest.param(
            {**ON, "HOSTNAME": "localhost"}, {"settings.hostname": "warning"}, id="hostname"
        ),
        pytest.param(
            {**ON, "AVATAR_TELEMETRY_PRIVACY": "off", "OTEL_ENVIRONMENT": "production"},
            {"settings.privacy": "warning"}, id="privacy",
        ),
        pytest.param(
            {**ON, "AVATAR_TELEMETRY_METRICS_ALLOW": "0.0.0.0/0"},
            {"settings.metrics_open": "warning"}, id="open",
        ),
        pytest.param(
            {**ON, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318",
             "OTEL_EXPORTER_OTLP_HEADERS": "a=b"},
            {"settings.headers_in_clear": "warning"}, id="headers-in-clear",
        ),
        pytest.param(
            {**ON, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318",
             "OTEL_EXPORTER_OTLP_HEADERS": "a=b"}, {}, id="headers-on-this-host",
        ),
        pytest.param(
            {**ON, "OTEL_TRACES_SAMPLER": "always_off"},
            {"settings.sampler_off": "warning"}, id="sampler-off",
        ),
        pytest.param(
            {**ON, "OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"},
            {"settings.sampler_off": "warning"}, id="ratio-of-0",
        ),
        pytest.param(
            {**ON, "OTEL_TRACES_EXPORTER": "none"}, {"settings.signal_off": "note"}, id="no-traces"
        ),
        pytest.param(
            {**ON, "OTEL_PYTHON_EXCLUDED_URLS": ".*"}, {"settings.excluded": "warning"},
            id="all-excluded",
        ),
        pytest.param(
            {**ON, "AVATAR_TELEMETRY_RING_SIZE": "100000000"}, {"settings.memory": "warning"},
            id="ring",
        ),
        pytest.param(
            {**ON, "OTEL_BSP_MAX_QUEUE_SIZE": "10", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "11"},
            {"settings.batch": "warning"}, id="batch"
        ),
    ],
)  # fmt: skip
def test_settings(env: dict[str, str], expected: dict[str, str]) -> None:
    """What is allowed and hardly meant is told."""
    settings, findings = check_settings(env)
    assert settings is not None
    assert levels(findings) == expected


@pytest.mark.parametrize(
    "env",
    [
        {"OTEL_BSP_MAX_QUEUE_SIZE": "x", "AVATAR_TELEMETRY_PRIVACY": "none"},
        {"AVATAR_TELEMETRY_PROFILE": "no.such:P", "AVATAR_TELEMETRY_PRIVCY": "off"},
        {"AVATAR_TELEMETRY_PROFILE": "no.such:P"},
    ],
    ids=["values", "misspelt", "profile"],
)
def test_settings_that_stop_the_start(env: dict[str, str]) -> None:
    """Each fault that stops the start is an error of its own."""
    settings, findings = check_settings(env)
    assert settings is None
    assert levels(findings).pop("settings.fault") == "error"


def test_faults_hide_no_other_finding_of_the_variables() -> None:
    """Ignored and misspelt variables are reported beside those that stop the start."""
    settings, findings = check_settings(
        {
            "AVATAR_TELEMETRY_PRIVACY": "none", "OTEL_BSP_MAX_QUEUE_SIZE": "x",
            "OTEL_EXPORTER_OTLP_ENDPIONT": "http://c:4318",
        }
    )  # fmt: skip
    assert settings is None
    assert levels(findings) == {
        "settings.fault": "error", "settings.ignored": "warning", "settings.misspelt": "warning",
    }  # fmt: skip


def test_the_profile_of_the_demo_is_named() -> None:
    """Where no application is named, the repository's entry point passes the demo's profile."""
    _, findings = check_settings(HOST)
    assert "profile ivatar (demo, where the wsgi.py" in findings[0].message
    _, findings = check_settings({**HOST, "AVATAR_TELEMETRY_APP": "ivatar.wsgi:application"})
    assert "profile ivatar, balanced" in findings[0].message


# Packages


def test_the_installation_of_the_tests_is_good() -> None:
    """What is installed here is what is needed."""
    findings = list(check_installed(Settings.from_env({}), PROFILE))
    assert not {"packages.version", "packages.not_installed"} & set(levels(findings))
    assert any("pymemcache" in each.message for each in findings if each.check == "packages.probes")


def test_packages_that_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that is missing, and one of another version, are errors."""
    wanted = ["no-such-package>=1", "click<1", "gunicorn", "rich>=99; extra == 'cli'"]
    monkeypatch.setattr(installed, "requires", lambda name: wanted)
    found = [each for each in check_installed(None, None) if each.level == "error"]
    assert [each.message.partition(":")[0] for each in found] == ["no-such-package", "click"]


def test_probes_that_are_off_are_told() -> None:
    """What AVATAR_TELEMETRY_PROBES leaves out is named, and does not count as applying."""
    settings = Settings.from_env({"AVATAR_TELEMETRY_PROBES": "-requests"})
    found = {each.check: each.message for each in check_installed(settings, PROFILE)}
    assert found["packages.probes_off"] == "probes that are off: requests"
    assert "requests" not in found["packages.probes"].replace(",", "").split()


def test_every_probe_has_something_to_watch() -> None:
    """Each probe of a library is known to the doctor."""
    assert set(installed.PATCHED) == set(OF_LIBRARIES)


# Runtime folder


def folder(path: object) -> list[Finding]:
    return list(check_folder(Settings.from_env({"PROMETHEUS_MULTIPROC_DIR": str(path)})))


def test_a_folder_that_is_not_there_is_made(tmp_path: Path) -> None:
    """A folder that can be made is good, and is not made by looking."""
    assert levels(folder(tmp_path / "new/metrics")) == {}
    assert not (tmp_path / "new").exists()


def test_a_folder_nobody_uses(tmp_path: Path) -> None:
    """An empty private folder is only noted."""
    tmp_path.chmod(0o700)
    assert levels(folder(tmp_path)) == {"folder.unused": "note"}


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        pytest.param(lambda path: path.chmod(0o777), {"folder.open": "error"}, id="open"),
        pytest.param(
            lambda path: (path / "notes.txt").touch(), {"folder.shared": "warning"}, id="shared"
        ),
    ],
)
def test_folders_that_are_not_private(tmp_path: Path, spoil: Any, expected: dict[str, str]) -> None:
    """A folder that others write to, or that holds other things, is told."""
    tmp_path.chmod(0o700)
    spoil(tmp_path)
    assert levels(folder(tmp_path)) == {**expected, "folder.unused": "note"}


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    """A name that is a file's is an error."""
    (tmp_path / "file").touch()
    assert levels(folder(tmp_path / "file")) == {"folder.no_folder": "error"}


def test_rights_are_those_of_the_user(tmp_path: Path) -> None:
    """A folder that this user cannot use is an error, and so is one that it cannot make."""
    root = os.geteuid() == 0
    tmp_path.chmod(0o700 if root else 0o100)
    program = (
        "import os, sys; from avatar_telemetry.cli.checks.runtime_folder import check_folder;"
        "from avatar_telemetry.config.settings import Settings; from pathlib import Path;"
        f"os.seteuid({65534 if root else os.geteuid()});"
        "print([each.check for name in sys.argv[1:] for each in"
        " check_folder(Settings.from_env({'PROMETHEUS_MULTIPROC_DIR': name}))])"
    )
    # Of its parents nobody else can see into, so both are looked at from inside.
    looked = subprocess.run(
        [sys.executable, "-c", program, ".", "new"], cwd=tmp_path, capture_output=True, text=True
    )
    assert looked.stdout.strip() == "['folder.rights', 'folder.rights']", looked.stderr


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
SPANS = 'avatar_telemetry_spans_total{result="exported"} 9.0\n'
SENDING = GOOD + EXPORTER_UP + SPANS


def examine(page: str, status: int = 200, env: dict[str, str] | None = None, **headers: str) -> Any:
    settings = Settings.from_env({**HOST, **(env or {})})
    with PageServer(page, status, **headers) as server:
        return levels(list(check_page(settings, PROFILE, server.url, "", 60.0)))


@pytest.mark.parametrize(
    ("page", "env", "expected"),
    [
        pytest.param(GOOD, {}, {}, id="good"),
        pytest.param(SENDING, ON, {}, id="sending"),
        pytest.param(
            GOOD.replace(f'version="{VERSION}"', 'version="0.0.1"'), {},
            {"metrics_page.version": "warning"}, id="version",
        ),
        pytest.param(
            GOOD, {"OTEL_SERVICE_NAME": "mine"},
            {"metrics_page.other_settings": "warning"}, id="other-settings",
        ),
        pytest.param(
            BUILD + TARGET + REQUESTS, {}, {"metrics_page.no_hooks": "warning"}, id="no-hooks"
        ),
        pytest.param(
            GOOD + "gunicorn_backlog 9.0\n", {}, {"metrics_page.backlog": "warning"}, id="backlog"
        ),
        pytest.param(
            BUILD + TARGET + WORKERS, {}, {"metrics_page.no_requests": "warning"}, id="no-requests"
        ),
        pytest.param(
            GOOD.replace('path="/"', 'path="other"'), {},
            {"metrics_page.unknown_paths": "warning"}, id="unknown-paths",
        ),
        pytest.param(
            GOOD.replace('code="200"', 'code="502"'), {},
            {"metrics_page.errors": "warning"}, id="errors",
        ),
        pytest.param(GOOD + AVATARS, {}, {"metrics_page.no_cache": "warning"}, id="no-cache"),
        pytest.param(
            GOOD + AVATARS + 'ivatar_avatar_cache_hits_total{format="png",size="80"} 50.0\n', {},
            {"metrics_page.none_made": "note"}, id="none-made",
        ),
        pytest.param(GOOD + EXPORTER_UP, ON, {"traces.none": "warning"}, id="no-spans"),
        pytest.param(
            SENDING + 'avatar_telemetry_spans_total{result="failed"} 9.0\n', ON,
            {"traces.failed": "warning"}, id="spans-failed",
        ),
        pytest.param(
            SENDING + 'avatar_telemetry_spans_total{result="dropped"} 9.0\n', ON,
            {"traces.dropped": "warning"}, id="spans-dropped",
        ),
        pytest.param(GOOD + SPANS, ON, {"metrics.not_pushed": "warning"}, id="not-pushed"),
        pytest.param(
            GOOD + SPANS + "avatar_telemetry_exporter_up 0.0\n", ON,
            {"metrics.no_exporter": "warning"}, id="no-exporter",
        ),
        pytest.param(
            SENDING + 'avatar_telemetry_metric_pushes_total{result="failed"} 2.0\n', ON,
            {"metrics.push_failed": "warning"}, id="push-failed",
        ),
        pytest.param(
            GOOD + 'avatar_telemetry_internal_errors_total{where="finish"} 1.0\n', {},
            {"metrics_page.internal_errors": "warning"}, id="internal-errors",
        ),
        pytest.param(
            GOOD + 'avatar_telemetry_series_refused_total{metric="x"} 1.0\n', {},
            {"metrics_page.series_refused": "warning"}, id="series-refused",
        ),
        pytest.param(
            GOOD + "avatar_telemetry_unreadable_files 1.0\n", {},
            {"metrics_page.unreadable": "warning"}, id="unreadable",
        ),
        pytest.param(GOOD.replace("5e7", "5e9"), {}, {"memory.high": "warning"}, id="memory"),
    ],
)  # fmt: skip
def test_what_a_page_lacks(page: str, env: dict[str, str], expected: dict[str, str]) -> None:
    """Each thing that is missing or bad on a page is told by its name."""
    assert examine(page, env=env) == expected


@pytest.mark.parametrize(
    ("page", "status", "headers", "env", "check"),
    [
        pytest.param("Hello", 200, {}, {}, "metrics_page.not_shown", id="the-applications"),
        pytest.param("", 404, {}, {}, "metrics_page.not_shown", id="not-found"),
        pytest.param("up 1.0\n", 200, {}, {}, "metrics_page.not_shown", id="somebody-elses"),
        pytest.param("", 503, {}, {}, "metrics_page.failed", id="failed"),
        pytest.param("", 302, {"Location": "/x"}, {}, "metrics_page.redirect", id="redirect"),
        pytest.param(
            "", 404, {}, {"AVATAR_TELEMETRY_METRICS_PATH": ""}, "metrics_page.off", id="off"
        ),
    ],
)
def test_no_page(
    page: str, status: int, headers: dict[str, str], env: dict[str, str], check: str
) -> None:
    """Where there is no page, it is told why, and what it takes."""
    assert examine(page, status, env, **headers) == {check: "error"}


@pytest.mark.parametrize(
    ("page", "status", "challenge", "expected"),
    [
        pytest.param(GOOD, 200, "", {}, id="good"),
        pytest.param("", 401, CHALLENGE, {"metrics_port.token": "warning"}, id="token"),
        pytest.param(
            "", 401, "Basic", {"metrics_port.somebody_elses": "warning"}, id="other token"
        ),
        pytest.param("Hello", 200, "", {"metrics_port.somebody_elses": "warning"}, id="foreign"),
    ],
)
def test_the_separate_port(
    page: str, status: int, challenge: str, expected: dict[str, str]
) -> None:
    """The port of OTEL_PROMETHEUS_ENDPOINT is read where it is set."""
    with PageServer(page, status, **{"WWW-Authenticate": challenge}) as server:
        address = server.url.removeprefix("http://127.0.0.1")
        settings = Settings.from_env({"OTEL_PROMETHEUS_ENDPOINT": f"0.0.0.0{address}"})
        assert levels(list(check_port(settings, "", 60.0))) == expected


def test_the_separate_port_is_closed() -> None:
    """A port that nobody has opened is noted; where none is set, none is looked at."""
    with hold_port() as closed:
        settings = Settings.from_env(
            {"OTEL_PROMETHEUS_ENDPOINT": f"127.0.0.1:{closed.getsockname()[1]}"}
        )
        assert levels(list(check_port(settings, "", 60.0))) == {"metrics_port.closed": "note"}
    assert list(check_port(Settings.from_env({}), "", 60.0)) == []


def test_a_server_that_is_away() -> None:
    """A server that does not answer is an error."""
    found = list(check_page(Settings.from_env({}), PROFILE, "http://127.0.0.1:1", "", 5.0))
    assert levels(found) == {"metrics_page.no_answer": "error"}


# Everything together


def test_bad_settings_leave_the_rest_unlooked_at() -> None:
    """With settings that cannot be used only they and the packages are told."""
    ran = invoke("doctor", AVATAR_TELEMETRY_PRIVACY="none")
    assert ran.status == 2
    assert "AVATAR_TELEMETRY_PRIVACY='none': allowed is strict, balanced or off" in ran.out
    assert "collector" not in ran.out
