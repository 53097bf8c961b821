"""Probe of ``urllib.request``: every opener, redirects within one call."""

from __future__ import annotations

from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from avatar_telemetry.probes.outside import call_outside, status_attribute
from avatar_telemetry.probes.patching import Call, surround, when_imported

_status = status_attribute("code")


def install() -> None:
    """Watch ``OpenerDirector.open``, which ``urlopen`` calls."""
    when_imported("urllib.request", _patch)


def _patch(module: ModuleType) -> None:
    surround(module, "OpenerDirector.open", _around_open)


def _around_open(original: Call) -> Call:
    def open(self: Any, fullurl: Any, *args: Any, **kwargs: Any) -> Any:
        return call_outside(_host(fullurl), original, _status, self, fullurl, *args, **kwargs)

    return open


def _host(fullurl: Any) -> str | None:
    url = fullurl if isinstance(fullurl, str) else getattr(fullurl, "full_url", "")
    try:
        parts = urlsplit(url)
        return parts.hostname if parts.scheme in ("http", "https") else None
    except (ValueError, TypeError, AttributeError):
        return None
