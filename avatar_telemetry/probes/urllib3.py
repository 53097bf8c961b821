"""Probe of ``urllib3``: pool managers and single pools, redirects and retries within one call."""

from __future__ import annotations

from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from avatar_telemetry.probes.outside import call_outside, status_attribute
from avatar_telemetry.probes.patching import Call, surround, when_imported

_status = status_attribute("status")


def install() -> None:
    """Watch ``PoolManager.urlopen`` and, for who uses pools alone, the pool's own."""
    when_imported("urllib3.poolmanager", _patch_manager)
    when_imported("urllib3.connectionpool", _patch_pool)


def _patch_manager(module: ModuleType) -> None:
    surround(module, "PoolManager.urlopen", _around_manager)


def _patch_pool(module: ModuleType) -> None:
    surround(module, "HTTPConnectionPool.urlopen", _around_pool)


def _around_manager(original: Call) -> Call:
    def urlopen(self: Any, method: Any, url: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            host = urlsplit(url).hostname
        except (ValueError, TypeError, AttributeError):
            host = None
        return call_outside(host, original, _status, self, method, url, *args, **kwargs)

    return urlopen


def _around_pool(original: Call) -> Call:
    def urlopen(self: Any, *args: Any, **kwargs: Any) -> Any:
        host = getattr(self, "host", None)
        return call_outside(host, original, _status, self, *args, **kwargs)

    return urlopen
