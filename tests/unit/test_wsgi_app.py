"""The application that is named in the environment, as a server imports it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from avatar_telemetry.runtime.entry_point import BOOT_ERROR
from tests.support.running import DEADLINE, environment

CALL = """
from wsgiref.util import setup_testing_defaults
from avatar_telemetry.wsgi_app import application
environ = {"REMOTE_ADDR": "127.0.0.1"}
setup_testing_defaults(environ)
for environ["PATH_INFO"] in ("/", "/metrics"):
    body = application(environ, lambda status, headers, exc_info=None: print(status))
    print(b"".join(body).decode())
"""


def served(folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """A request for ``/`` and a scrape, in a new interpreter."""
    return subprocess.run(
        [sys.executable, "-c", CALL], cwd=folder, env=environment(**env), capture_output=True,
        text=True, timeout=DEADLINE,
    )  # fmt: skip


@pytest.mark.parametrize(
    "reference", ["wsgiref.simple_server:demo_app", "factories:make(greeting='Hello world!')"]
)
def test_a_named_application_is_wrapped(tmp_path: Path, reference: str) -> None:
    """It serves its own pages, and the metrics beside them."""
    (tmp_path / "factories.py").write_text(
        "def make(greeting):\n"
        "    def application(environ, start_response):\n"
        "        start_response('200 OK', [])\n"
        "        return [greeting.encode()]\n"
        "    return application\n"
    )
    done = served(tmp_path, AVATAR_TELEMETRY_APP=reference)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Hello world!" in done.stdout
    assert 'ivatar_requests_total{method="GET",path="/",status_code="200"} 1.0' in done.stdout


def test_without_the_variable_the_server_gives_up(tmp_path: Path) -> None:
    """It ends with the message that names the variable, and the status that gunicorn knows."""
    done = served(tmp_path)
    assert (done.returncode, done.stdout) == (BOOT_ERROR, "")
    assert "AVATAR_TELEMETRY_APP is not set" in done.stderr
