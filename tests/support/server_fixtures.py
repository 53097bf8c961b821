"""Fixtures of gunicorns and of what they ask; a folder imports those that it wants."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support import real_servers
from tests.support.gunicorn_server import GunicornServer, Serve
from tests.support.real_servers import own_port
from tests.support.stand_in import gravatar, make_certificate

SINKS = {"sink", "sink_process", "grpc_sink", "trace_store", "start_collector"}


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


@pytest.fixture
def memcached() -> Iterator[str]:
    """A memcached of the test's own: all its workers see one cache, and it knows of no other test's
    digests, so that hits can be foretold."""
    with real_servers.memcached() as address:
        yield address


@pytest.fixture(scope="session")
def outside() -> Iterator[str]:
    """The stand-in for Gravatar."""
    with gravatar() as url:
        yield url


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of a stand-in for Gravatar over TLS, which is its own authority."""
    return make_certificate(tmp_path_factory.mktemp("tls"), real_servers.find("openssl"))
