"""What is imported when: a worker that exports nothing does without what exports."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.waiting import DEADLINE

HEAVY = ("opentelemetry.sdk", "opentelemetry.exporter", "google.protobuf", "requests", "urllib3")
SERVE = """
import json, os, sys
from wsgiref.util import setup_testing_defaults
import avatar_telemetry.gunicorn
from avatar_telemetry import instrument
from avatar_telemetry.runtime.lifecycle import RUNTIME
from avatar_telemetry.metrics.collector import Server

def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]

wrapped = instrument(application)
RUNTIME.prepare(0, os.geteuid(), os.getegid())
RUNTIME.start_worker(Server(os.getppid()), os.geteuid(), os.getegid())
for path in ("/avatar/0", "/metrics"):
    environ = {"PATH_INFO": path, "REMOTE_ADDR": "127.0.0.1"}
    setup_testing_defaults(environ)
    page = b"".join(wrapped(environ, lambda status, headers, exc_info=None: None))
assert b"ivatar_requests_total" in page
RUNTIME.state.stop()
RUNTIME.state.finish()
RUNTIME.release()
print(json.dumps(sorted(sys.modules)))
"""


def modules_of(*options: str, **environ: str) -> set[str]:
    """The modules of a process that has served and ended."""
    command = [sys.executable, *options, "-c", SERVE]
    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def test_not_without_export() -> None:
    """With the export off, metrics and their page need none of the SDK and of the HTTP client, nor
    the metrics of OpenTelemetry's API; each warning may be an error."""
    unwanted = {*HEAVY, "opentelemetry.metrics", "avatar_telemetry.metrics.api_meters"}
    assert not unwanted & modules_of("-W", "error")


def test_with_export() -> None:
    """A worker that exports imports the SDK, and nothing that only the exporter needs."""
    found = modules_of(
        OTEL_EXPORT_ENABLED="true", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9",
        AVATAR_TELEMETRY_FLUSH_TIMEOUT="0.1",
    )  # fmt: skip
    assert "opentelemetry.sdk" in found
    assert not {"google.protobuf", "requests", "urllib3"} & found


@pytest.mark.parametrize("module", ["avatar_telemetry", "avatar_telemetry.gunicorn"])
def test_warnings_as_errors(module: str) -> None:
    """The package can be imported where each warning is an error, without WebOb."""
    program = f"import sys, {module}; sys.exit('webob' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
