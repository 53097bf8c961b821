"""Servers and sinks for the tests of the command."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.otlp_fixtures import (  # noqa: F401 - fixtures
    authority,
    grpc_sink,
    running_collector,
    sink,
    start_collector,
    trace_store,
)
from tests.support.running import FOREIGN, DemoServer


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs in this process sees no setting but those of its test."""
    for name in list(os.environ):
        if name.startswith(FOREIGN):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOSTNAME", "a-host")


@pytest.fixture(scope="session")
def demo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoServer]:
    """The demo, served by the command, with two workers."""
    with DemoServer(tmp_path_factory.mktemp("demo")) as server:
        yield server
