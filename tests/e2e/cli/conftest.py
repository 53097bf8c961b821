"""The demo for the tests of the command."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.running import DemoServer
from tests.support.running_fixtures import bare_environment  # noqa: F401 - fixture


@pytest.fixture(scope="session")
def demo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoServer]:
    """The demo, served by the command, with two workers."""
    with DemoServer(tmp_path_factory.mktemp("demo")) as server:
        yield server
