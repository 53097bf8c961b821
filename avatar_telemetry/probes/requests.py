"""Probe of ``requests``: every session, redirects within one call."""

from __future__ import annotations

from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from avatar_telemetry.probes.outside import call_outside, status_attribute
from avatar_telemetry.probes.patching import Call, surround, when_imported

_status = status_attribute("status_code")


def install() -> None:
    """Watch ``Session.send``, which everything in requests calls."""
    when_imported("requests.sessions", _patch)


def _patch(module: ModuleType) -> None:
    surround(module, "Session.send", _around_send)


def _around_send(original: Call) -> Call:
    def send(self: Any, request: Any, **kwargs: Any) -> Any:
        return call_outside(_host(request), original, _status, self, request, **kwargs)

    return send


def _host(request: Any) -> str | None:
    try:
        url: str = request.url
        return urlsplit(url).hostname
    except (ValueError, TypeError, AttributeError):
        return None
