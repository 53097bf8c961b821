"""Probe of ``urllib3``: pool managers and pools; redirects and retries are part of one call."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from avatar_telemetry.probes import propagation
from avatar_telemetry.probes.outside import Target, call_outside, status_attribute, target
from avatar_telemetry.probes.patching import Call, Versions, surround, when_imported

SUPPORTED = Versions((1, 26), (3, 0))

_status = status_attribute("status")


def install() -> None:
    """Observe ``PoolManager.urlopen`` and, for pools without a manager, the pool's own."""
    propagation.install()
    when_imported("urllib3", _patch, SUPPORTED)


def _patch(module: ModuleType) -> None:
    surround(module, "PoolManager.urlopen", _around_manager)
    surround(module, "HTTPConnectionPool.urlopen", _around_pool)


def _around_manager(original: Call) -> Call:
    def urlopen(*args: Any, **kwargs: Any) -> Any:
        return call_outside("urllib3", _describe_manager, _status, original, *args, **kwargs)

    return urlopen


def _around_pool(original: Call) -> Call:
    def urlopen(*args: Any, **kwargs: Any) -> Any:
        return call_outside("urllib3", _describe_pool, _status, original, *args, **kwargs)

    return urlopen


def _describe_manager(manager: Any, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
    return target(method, url)


def _describe_pool(pool: Any, method: str, url: str, *args: Any, **kwargs: Any) -> Target:
    return Target(pool.host, method, f"{pool.scheme}://{pool.host}:{pool.port}{url}")
