"""Probe of Pyramid's URL dispatch: the pattern and the name of the route of a request."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from avatar_telemetry.probes.patching import surround, when_imported
from avatar_telemetry.probes.routing import Found, is_of, observe_router
from avatar_telemetry.wsgi.request import AvatarRequest


def install() -> None:
    """Observe the routes of every application (Pyramid 2.0 and later)."""
    when_imported("pyramid.urldispatch", _patch)


def _patch(module: ModuleType) -> None:
    surround(module, "RoutesMapper.__call__", observe_router(_find))


def _find(request: AvatarRequest, result: Any, mapper: Any, http_request: Any) -> Found | None:
    route = result["route"]
    if route is None or not is_of(request, http_request.environ):
        return None
    return route.pattern, route.name
