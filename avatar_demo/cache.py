"""Two caches with one interface: ``get`` and ``set`` of bytes under any string."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from pymemcache.client.base import PooledClient
from pymemcache.exceptions import MemcacheError

MAX_BYTES = 32 * 1024 * 1024
ENTRY_BYTES = 1024
"""Bytes counted per entry in addition to its value, so that the number of entries is bounded."""


class MemoryCache:
    """A thread-safe cache in this process, which drops the least recently used value first.

    Args:
        max_bytes: the maximum size of all entries, in bytes.
        clock: a monotonic clock, in seconds.
    """

    def __init__(
        self, max_bytes: int = MAX_BYTES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._free = max_bytes
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    def get(self, key: str) -> bytes | None:
        """Return the value, or ``None``."""
        with self._lock:
            expires, value = self._entries.get(key, (0.0, b""))
            if expires <= self._clock():
                self._drop(key)
                return None
            self._entries.move_to_end(key)
            return value

    def set(self, key: str, value: bytes, seconds: int) -> None:
        """Store a value for a number of seconds."""
        with self._lock:
            self._drop(key)
            self._entries[key] = (self._clock() + seconds, value)
            self._free -= len(value) + ENTRY_BYTES
            while self._free < 0:
                self._drop(next(iter(self._entries)))

    def _drop(self, key: str) -> None:
        if entry := self._entries.pop(key, None):
            self._free += len(entry[1]) + ENTRY_BYTES


class MemcachedCache:
    """A cache in memcached; without a response, a lookup is a miss.

    Args:
        address: the address: ``host:port`` or the path of a Unix socket.
        timeout: the seconds to connect, and to wait for a response.
    """

    def __init__(self, address: str, timeout: float) -> None:
        self._client = PooledClient(
            address,
            connect_timeout=timeout,
            timeout=timeout,
            no_delay=not address.startswith(("/", "unix:")),
        )

    def get(self, key: str) -> bytes | None:
        """Return the value, or ``None``, also if memcached does not respond."""
        try:
            value = self._client.get(_memcached_key(key))
        except (OSError, MemcacheError):
            return None
        return value if isinstance(value, bytes) else None

    def set(self, key: str, value: bytes, seconds: int) -> None:
        """Store a value, unless memcached does not respond or the value is too large."""
        try:
            # The response is read: else the next get would read its error.
            self._client.set(_memcached_key(key), value, expire=seconds, noreply=False)
        except (OSError, MemcacheError):
            return

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _memcached_key(key: str) -> str:
    return "demo:" + hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
