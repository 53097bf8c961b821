"""Real servers for the tests in this folder; those that no test ends start once for a run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import real_servers
from tests.support.drivers import Servers
from tests.support.otlp_fixtures import (  # noqa: F401 - fixtures
    authority,
    grpc_sink,
    patient_exporters,
    running_collector,
    shared_collector,
    sink,
    sink_process,
    start_collector,
    trace_store,
)
from tests.support.real_prometheus import Prometheus, prometheus
from tests.support.server_fixtures import (  # noqa: F401 - fixtures
    memcached,
    outside,
    port,
    ports,
    prepare,
    serve,
)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a PostgreSQL."""
    with real_servers.postgresql() as database:
        yield database.url


@pytest.fixture(scope="session")
def mysql() -> Iterator[str]:
    """The URL of a MariaDB."""
    with real_servers.mariadb() as database:
        yield database.url


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> Servers:
    """Both, each started when first used."""
    return Servers(request.getfixturevalue)


@pytest.fixture(scope="session")
def shared_memcached() -> Iterator[str]:
    """The ``host:port`` of a memcached; tests use keys of their own."""
    with real_servers.memcached() as address:
        yield address


@pytest.fixture(scope="session")
def receiving_prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that takes OTLP; tests push as instances of their own."""
    with prometheus(tmp_path_factory.mktemp("prometheus"), otlp=True) as started:
        yield started


@pytest.fixture(scope="session")
def redis() -> Iterator[str]:
    """The URL of a Redis; tests use keys of their own."""
    with real_servers.redis() as url:
        yield url
