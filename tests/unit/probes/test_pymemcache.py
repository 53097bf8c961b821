"""The probe of pymemcache without a server."""

from __future__ import annotations

import pytest
from pymemcache.client.base import Client

from tests.support.cache_requests import looked_up, within
from tests.support.recorder import Recorder


def test_a_dead_memcached(cached: Recorder) -> None:
    """A look-up that fails raises as it does, and says neither hit nor miss."""
    client = Client(("127.0.0.1", 1))
    with pytest.raises(OSError):
        within(cached, lambda: client.get("key"))
    assert looked_up(cached) == (0, 0)
