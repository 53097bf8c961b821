"""Fixtures of gunicorns and of ports; a folder's ``conftest.py`` imports those that it wants."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.gunicorn_server import GunicornServer, Serve
from tests.support.real_servers import own_port

SINKS = {"sink", "sink_process", "grpc_sink", "trace_store"}


@pytest.fixture
def ports() -> Iterator[Callable[[int], list[int]]]:
    """Gives ports that only the servers of this test listen on."""
    with ExitStack() as held:
        yield lambda number: [held.enter_context(own_port()) for _ in range(number)]


@pytest.fixture
def port(ports: Callable[[int], list[int]]) -> int:
    """One of these."""
    return ports(1)[0]


@pytest.fixture
def prepare(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Serve]:
    """Makes servers that are not started yet, and ends them with the test."""
    # What they send to is made before them and ends after them: the port of a sink that had ended
    # may be another test's.
    for name in SINKS & set(request.fixturenames):
        request.getfixturevalue(name)
    with ExitStack() as servers:

        def make(*args: Any, name: str = "server", **options: Any) -> GunicornServer:
            server = GunicornServer(tmp_path / name, *args, **options)
            servers.callback(server.close)
            return server

        yield make


@pytest.fixture
def serve(prepare: Serve) -> Serve:
    """Starts servers; they answer when it returns."""
    return lambda *args, **options: prepare(*args, **options).start()
