"""The probe of pymemcache as an avatar cache, against a real memcached."""

from __future__ import annotations

import pytest
from pymemcache.client.base import Client, PooledClient
from pymemcache.client.hash import HashClient

from tests.support.cache_requests import looked_up, within
from tests.support.recorder import Recorder


@pytest.fixture
def address(shared_memcached: str) -> tuple[str, int]:
    host, _, port = shared_memcached.partition(":")
    return host, int(port)


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


def test_memcached_is_not_every_profiles_avatar_cache(
    recorder: Recorder, address: tuple[str, int]
) -> None:
    """For ivatar memcached keeps short notes; its avatar cache is another."""
    client = Client(address)
    within(recorder, lambda: client.get("there"))
    assert looked_up(recorder) == (0, 0)
    client.close()
