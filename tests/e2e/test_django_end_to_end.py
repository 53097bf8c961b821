"""An unmodified Django project under a real gunicorn, seen from outside by the probes.

Concurrent clients send a repeatable mix of everything; then each series on the page is held against
what the clients did.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import real_servers
from tests.support.demo_client import Clients, knowable
from tests.support.django_client import DjangoClient
from tests.support.django_site import DjangoSite
from tests.support.gunicorn_server import Serve, total
from tests.support.rows import by_default
from tests.support.stand_in import gravatar

CLIENTS = 3
REQUESTS = 250


@pytest.fixture(scope="module")
def outside(certificate: Path) -> Iterator[str]:
    """The stand-in for Gravatar, over TLS."""
    with gravatar(certificate) as url:
        yield url


@pytest.fixture
def site(serve: Serve, tmp_path: Path, memcached: str, outside: str, certificate: Path):
    """The project, not yet started."""
    return DjangoSite(
        serve, tmp_path, SSL_CERT_FILE=str(certificate), PORTRAITS_MEMCACHED=memcached,
        PORTRAITS_GRAVATAR=outside, PORTRAITS_MAX_PHOTOS="100000",
    )  # fmt: skip


def check_every_series(site: DjangoSite, random_state: int, **options: object) -> None:
    server = site.wrapped(**options)
    with Clients(server.request, CLIENTS, REQUESTS, random_state, DjangoClient) as clients:
        pass
    expected = clients.tally().counts
    server.await_idle()
    metrics = server.metrics()
    shown = {key: value for key, value in knowable(metrics).items() if value}
    assert shown == dict(expected)
    assert total(metrics, "avatar_telemetry_internal_errors_total") == 0
    for source in ("generated", "uploaded", "external"):
        assert total(metrics, "ivatar_avatars_generated_total", source=source) > 0
    assert total(metrics, "ivatar_avatar_cache_hits_total") > 0
    assert "no probe for" not in server.log()


RUNS = [
    pytest.param("sync", False, 1, id="sync"),
    pytest.param("sync", True, 2, id="sync, preload"),
    pytest.param("gthread", False, 3, id="gthread"),
    pytest.param("gthread", True, 4, id="gthread, preload"),
]


@pytest.mark.parametrize(("worker_class", "preload", "random_state"), by_default("gthread", RUNS))
def test_every_series_equals_the_clients_tally(
    site: DjangoSite, worker_class: str, preload: bool, random_state: int
) -> None:
    """Each series is exactly what clients did, and no other is, imported early or late."""
    check_every_series(site, random_state, worker_class=worker_class, preload_app=preload)


@pytest.mark.slow
@pytest.mark.parametrize(("database", "random_state"), [("postgresql", 5), ("mariadb", 6)])
def test_on_a_real_database(site: DjangoSite, database: str, random_state: int) -> None:
    """The same with Django's own drivers of a database server."""
    with getattr(real_servers, database)() as server:
        site.environ["PORTRAITS_DATABASE"] = server.url
        check_every_series(site, random_state, preload_app=False)
