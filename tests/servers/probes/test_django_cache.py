"""The probe of Django's caches, with the backends that people use against their real servers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import CacheHandler

from tests.support.requirements import require
from tests.unit.probes.test_django_cache import (  # noqa: F401 - tests, which use this handler
    BACKENDS,
    caches_of,
    test_every_backend,
    test_only_the_profiles_alias_counts,
    test_outside_of_a_request,
    test_spans_say_nothing_of_a_key,
    used,
)


@pytest.fixture(params=["memcached.PyMemcacheCache", "memcached.PyLibMCCache", "redis.RedisCache"])
def handler(request: pytest.FixtureRequest) -> Iterator[CacheHandler]:
    """Two caches of every kind of backend."""
    name: str = request.param
    if "LibMC" in name:
        require("pylibmc")
    location = request.getfixturevalue("redis" if "redis" in name else "shared_memcached")
    caches = caches_of(BACKENDS + name, location)
    yield from used(caches)
    for cache in caches.all(initialized_only=True):
        _disconnect(cache._cache)


def _disconnect(client: Any) -> None:
    """Close the connections that a backend keeps as long as its process lives."""
    for pool in getattr(client, "_pools", {}).values():
        pool.disconnect()
    if hasattr(client, "disconnect_all"):
        client.disconnect_all()
