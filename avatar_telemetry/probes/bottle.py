"""Probe of Bottle's router: the rule and the callback of a request."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from avatar_telemetry.probes.patching import surround, when_imported
from avatar_telemetry.probes.routing import Found, is_of, observe_router
from avatar_telemetry.wsgi.request import AvatarRequest


def install() -> None:
    """Observe the router of every application (Bottle 0.12 and later)."""
    when_imported("bottle", _patch)


def _patch(module: ModuleType) -> None:
    surround(module, "Router.match", observe_router(_find))


def _find(request: AvatarRequest, result: Any, router: Any, environ: Any) -> Found | None:
    if not is_of(request, environ):
        return None
    route = result[0]
    return route.rule, getattr(route.callback, "__name__", None)
