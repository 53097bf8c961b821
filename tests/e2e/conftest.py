"""Servers for the tests in this folder; each test gets as many as it asks for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.gunicorn_server import GunicornServer, Serve
from tests.support.otlp_fixtures import (  # noqa: F401 - fixtures
    authority,
    grpc_sink,
    running_collector,
    sink,
    sink_process,
    start_collector,
    trace_store,
)

if sys.platform != "linux":
    collect_ignore_glob = ["test_*.py"]  # what is looked at here is read from /proc


@pytest.fixture
def prepare(tmp_path: Path) -> Iterator[Serve]:
    """Makes servers that are not started yet, and ends them with the test."""
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
