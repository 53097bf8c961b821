"""The demo for the tests of the command."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from avatar_telemetry.cli.samples import fetch
from tests.support.running import DEADLINE, DemoServer
from tests.support.running_fixtures import bare_environment  # noqa: F401 - fixture


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of this process wait for a server that is stopped for a while."""
    monkeypatch.setitem(fetch.__kwdefaults__, "timeout", DEADLINE)


@pytest.fixture(scope="session")
def demo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoServer]:
    """The demo, served by the command, with two workers."""
    with DemoServer(tmp_path_factory.mktemp("demo")) as server:
        yield server
