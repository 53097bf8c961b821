"""The units are what systemd takes, and gunicorn runs on the socket that systemd opens."""

from __future__ import annotations

import os
import re
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from avatar_telemetry.config.settings import Settings
from tests.support.gunicorn_server import UnixConnection, eventually
from tests.support.paths import REPOSITORY
from tests.support.real_servers import find
from tests.support.waiting import DEADLINE

UNITS = REPOSITORY / "deploy" / "systemd"
LARGEST_EXPOSURE = 20
"""Tenths of systemd's exposure level, of 100: "OK" ends at 50, an unhardened service has 96."""


TOKEN = "token-of-the-tests"


def environment() -> dict[str, str]:
    """What the environment file sets."""
    lines = (UNITS / "environment").read_text().splitlines()
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    return {name: value for name, _, value in pairs}


def command() -> list[str]:
    """The service's own command, with this Python's gunicorn."""
    line = re.search(r"^ExecStart=(.+)$", (UNITS / "ivatar.service").read_text(), re.MULTILINE)
    assert line is not None
    program, *arguments = line[1].split()
    assert program.endswith("/bin/gunicorn")
    return [os.path.join(sysconfig.get_path("scripts"), "gunicorn"), *arguments]


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units, with a gunicorn and a folder that are there."""
    for path in UNITS.glob("ivatar.*"):
        text = path.read_text().replace("/opt/ivatar/.venv/bin/gunicorn", command()[0])
        (tmp_path / path.name).write_text(text.replace("/opt/ivatar", str(REPOSITORY)))
    return tmp_path


def test_systemd_takes_the_units(units: Path) -> None:
    """No directive is unknown, misplaced or without effect."""
    analyze = find("systemd-analyze")
    files = [str(path) for path in sorted(units.glob("ivatar.*"))]
    done = subprocess.run(
        [analyze, "verify", "--man=no", "--recursive-errors=no", *files],
        capture_output=True, text=True,
    )  # fmt: skip
    complaints = [line for line in done.stderr.splitlines() if "ivatar" in line]
    assert (done.returncode, complaints) == (0, [])


def test_the_service_is_hardened(units: Path) -> None:
    """systemd's own measure finds little that it could still take away."""
    analyze = find("systemd-analyze")
    done = subprocess.run(
        [analyze, "security", "--offline=true", f"--threshold={LARGEST_EXPOSURE}", "--no-pager",
         str(units / "ivatar.service")], capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr


def test_the_environment_is_valid() -> None:
    """Every variable is a setting with a value that is allowed."""
    settings = Settings.from_env(environment())
    assert settings.environment == "production" and settings.export_enabled
    assert settings.trusted_proxies.unix  # nginx stands in front
    assert settings.metrics_token == ""  # an example must not open the metrics


@contextmanager
def activated(address: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The service's command on a socket that systemd's own tool opens."""
    activate = find("systemd-socket-activate")
    kept = {
        "DEMO_DATA": str(folder / "data"),
        "PATH": os.environ["PATH"],
        "AVATAR_TELEMETRY_METRICS_TOKEN": TOKEN,
    }
    changes = {**environment(), **kept, "OTEL_EXPORT_ENABLED": "false"}
    setenv = [f"--setenv={name}={value}" for name, value in changes.items()]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            [activate, f"--listen={address}", *setenv, *command()], cwd=REPOSITORY,
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        process.wait(DEADLINE)


def test_gunicorn_runs_on_the_socket_of_systemd(tmp_path: Path) -> None:
    """The first connection starts the server; it waits in the socket and is answered."""
    address = tmp_path / "ivatar.sock"
    with activated(str(address), tmp_path) as process:
        connection = UnixConnection(str(address), timeout=DEADLINE)

        def connects() -> bool:
            with suppress(OSError):
                connection.connect()
                return True
            connection.close()
            return False

        eventually(connects, what="the socket")
        connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
        answer = connection.getresponse()
        page = answer.read().decode()
        connection.close()
        log = (tmp_path / "log").read_text()
        assert answer.status == 200, log
        assert 'deployment_environment="production"' in page
        assert process.poll() is None
    assert process.returncode == 0
