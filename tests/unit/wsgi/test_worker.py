"""The telemetry that code of the application finds: of its request, else of its process."""

from __future__ import annotations

from typing import Any

from avatar_telemetry.wsgi.worker import Worker
from tests.support.recorder import Recorder
from tests.support.wsgi_client import call


def test_before_a_start_there_is_none() -> None:
    """In the master, and where nothing is wrapped."""
    assert Worker().telemetry() is None


def test_that_of_the_request_stands_before_that_of_the_process(recorder: Recorder) -> None:
    """Of two applications in a process, each records by hand with its own profile."""
    worker = Worker()
    of_the_process: Any = object()
    worker.find = lambda: of_the_process
    found = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        found.append(worker.telemetry())
        start_response("200 OK", [])
        return [b""]

    call(recorder.wrap(application))
    found.append(worker.telemetry())
    assert found == [recorder.telemetry, of_the_process]


def test_a_failure_is_none() -> None:
    """The application asks in the middle of its own work."""
    worker = Worker()

    def failing() -> Any:
        raise RuntimeError("mine")

    worker.find = failing
    assert worker.telemetry() is None
