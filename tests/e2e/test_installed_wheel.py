"""The package as its users install it: the wheel in an empty environment, without a clone."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.support.gunicorn_server import LISTENING, parse, total
from tests.support.paths import REPOSITORY
from tests.support.requirements import unavailable
from tests.support.running import DEADLINE, environment
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow  # pip installs every dependency from the package index

SOURCES = ("pyproject.toml", "README.md", "LICENSE", "avatar_telemetry")
OFFLINE = "(from versions: none)"


def pip(scripts: Path, *arguments: object) -> None:
    """Run pip; skips the test where there is no package index."""
    command = [scripts / "python", "-I", "-m", "pip", "--disable-pip-version-check"]
    done = subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True)
    if OFFLINE in done.stdout + done.stderr:
        unavailable(f"no package index: {done.stderr[-500:]}")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs of a new environment that has the wheel alone."""
    folder = tmp_path_factory.mktemp("installed")
    sources = folder / "sources"
    sources.mkdir()
    for name in SOURCES:
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy
        copy(REPOSITORY / name, sources / name)
    subprocess.run([sys.executable, "-m", "venv", folder / "environment"], check=True)
    scripts = folder / "environment" / "bin"
    pip(scripts, "wheel", "--no-deps", "--wheel-dir", folder, sources)
    (wheel,) = folder.glob("*.whl")
    pip(scripts, "install", wheel)
    return scripts


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A working directory without any file."""
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


@pytest.fixture
def log(scripts: Path, empty: Path, tmp_path: Path) -> Iterator[Path]:
    """The log of a server that was started as the README shows."""
    path = tmp_path / "log"
    command = [
        scripts / "gunicorn", "-c", "python:avatar_telemetry.gunicorn", "--no-control-socket",
        "--bind", "127.0.0.1:0", "--workers", "2", "avatar_telemetry.wsgi_app:application",
    ]  # fmt: skip
    variables = environment(
        AVATAR_TELEMETRY_APP="wsgiref.simple_server:demo_app", OTEL_EXPORT_ENABLED="true",
        OTEL_TRACES_EXPORTER="console", OTEL_METRICS_EXPORTER="none", OTEL_BSP_SCHEDULE_DELAY="50",
    )  # fmt: skip
    with path.open("wb") as output:
        server = subprocess.Popen(command, cwd=empty, env=variables, stdout=output, stderr=output)
    try:
        yield path
    finally:
        server.terminate()
        assert server.wait(DEADLINE) == 0, path.read_text()


def test_a_server_without_any_own_file(log: Path, empty: Path) -> None:
    """It serves the named application and the metrics, and its exporter sends the spans."""
    address = eventually(lambda: LISTENING.findall(log.read_text()), what="gunicorn")[0][0]
    with urlopen(f"{address}/") as response:
        assert response.read().startswith(b"Hello world!")
    with urlopen(f"{address}/metrics") as response:
        page = parse(response.read().decode())
    assert total(page, "ivatar_requests_total", path="/", status_code="200") == 1
    eventually(lambda: '"GET /"' in log.read_text(), what="the span from the exporter")
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize("program", [["avatar-telemetry"], ["python", "-m", "avatar_telemetry"]])
def test_the_command_names_its_extra(scripts: Path, empty: Path, program: list[str]) -> None:
    """Without the extra it is one line that says what to install."""
    command = [scripts / program[0], *program[1:], "doctor"]
    done = subprocess.run(command, cwd=empty, env=environment(), capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "avatar-telemetry: click, textual not installed; pip install 'avatar-telemetry[cli]'\n"
    )
