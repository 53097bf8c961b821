"""The caches give back what they were given, for a while."""

import socket

from avatar_demo.cache import ENTRY_BYTES, MAX_BYTES, MemoryCache


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_memory_gives_back():
    """A value is found under its key only."""
    cache = MemoryCache()
    cache.set("a", b"1", 10)
    assert (cache.get("a"), cache.get("b")) == (b"1", None)


def test_memory_expires():
    """A value is gone when its time is over, and its bytes no longer count."""
    clock = Clock()
    cache = MemoryCache(clock=clock)
    cache.set("a", b"1", 10)
    clock.now += 10
    assert cache.get("a") is None
    assert cache._free == MAX_BYTES


def test_memory_drops_what_was_not_used():
    """Beyond the number of bytes the least recently used entry goes."""
    cache = MemoryCache(max_bytes=2 * (1 + ENTRY_BYTES))
    cache.set("a", b"1", 10)
    cache.set("b", b"2", 10)
    cache.get("a")
    cache.set("c", b"3", 10)
    assert [cache.get(key) for key in "abc"] == [b"1", None, b"3"]


def test_memory_is_bounded_in_bytes():
    """Beyond the bytes the oldest go, and a value too large for all is not kept."""
    cache = MemoryCache(max_bytes=10 + ENTRY_BYTES)
    cache.set("a", b"1" * 6, 10)
    cache.set("b", b"2" * 6, 10)
    assert (cache.get("a"), cache.get("b")) == (None, b"2" * 6)
    cache.set("c", b"3" * 11, 10)
    assert cache.get("c") is None


def test_memory_replaces():
    """A second value takes the place of the first, and only its bytes count."""
    cache = MemoryCache()
    cache.set("a", b"123", 10)
    cache.set("a", b"4", 10)
    assert cache.get("a") == b"4"
    assert cache._free == MAX_BYTES - 1 - ENTRY_BYTES


def test_memcached_silent(connect):
    """A memcached that accepts but never responds is not waited for."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        cache = connect(f"127.0.0.1:{server.getsockname()[1]}", 0.3)
        assert cache.get("a") is None
