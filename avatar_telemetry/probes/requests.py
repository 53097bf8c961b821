"""Probe of ``requests``: every session; redirects are part of one call."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from avatar_telemetry.probes import propagation
from avatar_telemetry.probes.outside import Target, call_outside, status_attribute, target
from avatar_telemetry.probes.patching import Call, Versions, surround, when_imported

SUPPORTED = Versions((2, 20), (3, 0))

_status = status_attribute("status_code")


def install() -> None:
    """Observe ``Session.send``, which all functions of requests call."""
    propagation.install()
    when_imported("requests", _patch, SUPPORTED)


def _patch(module: ModuleType) -> None:
    surround(module, "Session.send", _around_send)


def _around_send(original: Call) -> Call:
    def send(*args: Any, **kwargs: Any) -> Any:
        return call_outside("requests", _describe, _status, original, *args, **kwargs)

    return send


def _describe(session: Any, request: Any, **kwargs: Any) -> Target | None:
    return target(request.method, request.url)
