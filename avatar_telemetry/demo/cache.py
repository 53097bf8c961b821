"""Two caches with one face: ``get`` and ``set`` of bytes under any string."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from pymemcache.client.base import PooledClient
from pymemcache.exceptions import MemcacheError

MAX_ENTRIES = 4096
MAX_BYTES = 32 * 1024 * 1024


class Cache(Protocol):
    """What the views need of a cache."""

    def get(self, key: str) -> bytes | None:
        """The value, or ``None``."""

    def set(self, key: str, value: bytes, seconds: int) -> None:
        """Keep a value for some seconds at most."""


class MemoryCache:
    """Keeps what was used last, in this process; safe for threads.

    Args:
        max_entries: more than these push the oldest out.
        max_bytes: the same for the sum of the values.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        max_entries: int = MAX_ENTRIES,
        max_bytes: int = MAX_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._bytes = 0

    def get(self, key: str) -> bytes | None:
        """The value under ``key``, or ``None`` where there is none any more."""
        with self._lock:
            expires, value = self._entries.get(key, (0.0, b""))
            if key not in self._entries:
                return None
            if expires <= self._clock():
                self._drop(key)
                return None
            self._entries.move_to_end(key)
            return value

    def set(self, key: str, value: bytes, seconds: int) -> None:
        """Keep ``value`` under ``key`` for so many seconds at most."""
        with self._lock:
            if key in self._entries:
                self._drop(key)
            self._entries[key] = (self._clock() + seconds, value)
            self._bytes += len(value)
            while len(self._entries) > self._max_entries or self._bytes > self._max_bytes:
                self._drop(next(iter(self._entries)))

    def _drop(self, key: str) -> None:
        self._bytes -= len(self._entries.pop(key)[1])


class MemcachedCache:
    """Keeps values in memcached; where that fails, nothing was kept.

    Args:
        address: ``host:port`` or the path of a Unix socket.
        timeout: seconds that it may take to connect, and to answer.
    """

    def __init__(self, address: str, timeout: float) -> None:
        self._client = PooledClient(
            address,
            connect_timeout=timeout,
            timeout=timeout,
            no_delay=not address.startswith(("/", "unix:")),
        )

    def get(self, key: str) -> bytes | None:
        """The value under ``key``, or ``None``, also where memcached does not answer."""
        try:
            value = self._client.get(_memcached_key(key))
        except (OSError, MemcacheError):
            return None
        return value if isinstance(value, bytes) else None

    def set(self, key: str, value: bytes, seconds: int) -> None:
        """Keep ``value`` under ``key``, unless memcached does not answer or it is too large."""
        try:
            # Its answer is awaited: an unread complaint would be taken for that to the next get.
            self._client.set(_memcached_key(key), value, expire=seconds, noreply=False)
        except (OSError, MemcacheError):
            return

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _memcached_key(key: str) -> str:
    return "demo:" + hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
