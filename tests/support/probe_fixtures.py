"""Fixtures of the tests of probes; a folder's ``conftest.py`` imports those that it wants."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace

from avatar_telemetry.probes import LIBRARY_PROBES, POLICY
from avatar_telemetry.profiles.generic import PROFILE as GENERIC
from tests.support.recorder import Recorder, watched
from tests.support.spans import EXPORTER, PROVIDER, Spans
from tests.support.wsgi_client import call


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Spans:
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", PROVIDER)
    EXPORTER.clear()
    return Spans()


@pytest.fixture
def policy(recorder: Recorder) -> Iterator[Callable[..., None]]:
    """Sets the policy of the probes for one test."""

    def set_policy(**rules: Any) -> None:
        POLICY.set(**rules, guard=recorder.guard)

    set_policy()
    yield set_policy
    POLICY.set()


@pytest.fixture
def within(recorder: Recorder, policy: Callable[..., None]) -> Callable[..., Any]:
    """Runs a function inside a request, and gives what it returned."""

    def run(function: Callable[[], Any], path: str = "/stats/") -> Any:
        results = []

        def application(environ: Any, start_response: Any) -> list[bytes]:
            results.append(function())
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"x"]

        call(recorder.wrap(application), path=path)
        return results[0]

    return run


@pytest.fixture
def generic(tmp_path: Path) -> Iterator[Recorder]:
    """A recorder of spans, too, to which the application is any."""
    yield from watched(Recorder(tmp_path, GENERIC, traced=True))


@pytest.fixture
def cached(tmp_path: Path) -> Iterator[Recorder]:
    """A recorder whose profile has its avatar cache in memcached."""
    recorder = Recorder(tmp_path).using(avatar_cache=("pymemcache",))
    LIBRARY_PROBES["pymemcache"]()
    yield recorder
    assert recorder.value("avatar_telemetry_internal_errors_total") == 0
    recorder.book.detach()
