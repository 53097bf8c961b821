"""The probe of pymemcache, against a real memcached."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pymemcache.client.base import Client, PooledClient
from pymemcache.client.hash import HashClient

from avatar_telemetry.probes import pymemcache as probe
from tests.support.real_servers import memcached
from tests.support.recorder import DIGEST, Recorder
from tests.support.wsgi_client import call

AVATAR = f"/avatar/{DIGEST}"


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[str, int]]:
    with memcached() as text:
        host, _, port = text.partition(":")
        yield host, int(port)


@pytest.fixture
def cached(tmp_path: Path) -> Iterator[Recorder]:
    """A recorder whose profile has its avatar cache in memcached."""
    recorder = Recorder(tmp_path).using(avatar_cache=("pymemcache",))
    probe.install()
    yield recorder
    assert recorder.value("avatar_telemetry_internal_errors_total") == 0
    recorder.book.detach()


def within(recorder: Recorder, function, path: str = AVATAR) -> None:
    def application(environ, start_response):
        function()
        start_response("200 OK", [("Content-Type", "image/png")])
        return [b"x"]

    call(recorder.wrap(application), path=path)


def looked_up(recorder: Recorder) -> tuple[float, float]:
    return (
        recorder.value("ivatar_avatar_cache_hits_total"),
        recorder.value("ivatar_avatar_cache_misses_total"),
    )


MAKERS = [
    pytest.param(lambda address: Client(address), id="Client"),
    pytest.param(lambda address: PooledClient(address), id="PooledClient"),
    pytest.param(lambda address: HashClient([address]), id="HashClient"),
    pytest.param(lambda address: HashClient([address], use_pooling=True), id="pooled HashClient"),
]


@pytest.mark.parametrize("make", MAKERS)
def test_look_ups(cached: Recorder, address: tuple[str, int], make) -> None:
    """The first look-up of a request is a hit or a miss, through clients that nest, too."""
    client = make(address)
    client.set("there", b"value")
    within(cached, lambda: (client.get("there"), client.get("nothing")))
    assert looked_up(cached) == (1, 0)
    within(cached, lambda: (client.get("nothing"), client.get("there")))
    assert looked_up(cached) == (1, 1)
    within(cached, lambda: client.get("nothing", b"default"))
    assert looked_up(cached) == (1, 2)
    within(cached, lambda: client.get_many(["there", "nothing"]))
    assert looked_up(cached) == (2, 2)
    within(cached, lambda: client.get_many(["nothing"]))
    assert looked_up(cached) == (2, 3)
    within(cached, lambda: client.get("there"), path="/stats/")
    client.get("there")
    assert looked_up(cached) == (2, 3), "only avatar requests ask the avatar cache"
    client.close()


def test_a_dead_memcached(cached: Recorder) -> None:
    """A look-up that fails raises as it does, and says neither hit nor miss."""
    client = Client(("127.0.0.1", 1))
    with pytest.raises(OSError):
        within(cached, lambda: client.get("key"))
    assert looked_up(cached) == (0, 0)


def test_memcached_is_not_every_profiles_avatar_cache(
    recorder: Recorder, address: tuple[str, int]
) -> None:
    """For ivatar memcached keeps short notes; its avatar cache is another."""
    client = Client(address)
    within(recorder, lambda: client.get("there"))
    assert looked_up(recorder) == (0, 0)
    client.close()
