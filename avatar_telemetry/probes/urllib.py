"""Probe of ``urllib.request``: every opener; redirects are part of one call."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from avatar_telemetry.probes import propagation
from avatar_telemetry.probes.outside import Target, call_outside, status_attribute, target
from avatar_telemetry.probes.patching import Call, surround, when_imported

_status = status_attribute("code")


def install() -> None:
    """Observe ``OpenerDirector.open``, which ``urlopen`` calls."""
    propagation.install()
    when_imported("urllib.request", _patch)


def _patch(module: ModuleType) -> None:
    surround(module, "OpenerDirector.open", _around_open)


def _around_open(original: Call) -> Call:
    def open(*args: Any, **kwargs: Any) -> Any:
        return call_outside("urllib", _describe, _status, original, *args, **kwargs)

    return open


def _describe(opener: Any, fullurl: Any, data: Any = None, timeout: Any = None) -> Target | None:
    if isinstance(fullurl, str):
        return target("GET" if data is None else "POST", fullurl)
    return target("POST" if data is not None else fullurl.get_method(), fullurl.full_url)
