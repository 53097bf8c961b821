"""Probe of pymemcache: whether a look-up found something, never what or under which key.

Covers ``Client``, ``PooledClient`` and ``HashClient``, which call one another: the request counts
the first look-up only, and all of them see the same answer.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from avatar_telemetry.probes.patching import Call, surround, when_imported
from avatar_telemetry.request import CURRENT

NAME = "pymemcache"
"""What a profile calls this cache."""


def install() -> None:
    """Watch the look-ups of all three clients."""
    when_imported("pymemcache.client.base", _patch_base)
    when_imported("pymemcache.client.hash", _patch_hash)


def _patch_base(module: ModuleType) -> None:
    _patch_client(module.Client)
    _patch_client(module.PooledClient)


def _patch_hash(module: ModuleType) -> None:
    _patch_client(module.HashClient)


def _patch_client(client: type) -> None:
    surround(client, "get", _around_get)
    surround(client, "get_many", _around_get_many)


def _around_get(original: Call) -> Call:
    def get(self: Any, key: Any, *args: Any, **kwargs: Any) -> Any:
        value = original(self, key, *args, **kwargs)
        request = CURRENT.get()
        if request is not None:
            default = args[0] if args else kwargs.get("default")
            request.cache_lookup(NAME, hit=value is not default)
        return value

    return get


def _around_get_many(original: Call) -> Call:
    def get_many(self: Any, keys: Any, *args: Any, **kwargs: Any) -> Any:
        values = original(self, keys, *args, **kwargs)
        request = CURRENT.get()
        if request is not None:
            request.cache_lookup(NAME, hit=bool(values))
        return values

    return get_many
