"""The probe of pymemcache without a server."""

from __future__ import annotations

import pytest
from pymemcache.client.base import Client

from tests.support.recorder import DIGEST, Recorder
from tests.support.wsgi_client import call

AVATAR = f"/avatar/{DIGEST}"


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


def test_a_dead_memcached(cached: Recorder) -> None:
    """A look-up that fails raises as it does, and says neither hit nor miss."""
    client = Client(("127.0.0.1", 1))
    with pytest.raises(OSError):
        within(cached, lambda: client.get("key"))
    assert looked_up(cached) == (0, 0)
