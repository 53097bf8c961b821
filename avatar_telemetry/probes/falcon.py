"""Probe of Falcon's router: the URI template and the resource class of a request."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from avatar_telemetry.probes.patching import Versions, surround, when_imported
from avatar_telemetry.probes.routing import Found, is_of, observe_router
from avatar_telemetry.wsgi.request import AvatarRequest

SUPPORTED = Versions((3, 0), (5, 0))
DEFAULTS = "falcon.responders"
"""The module of the responders that refuse a method that a resource does not have."""


def install() -> None:
    """Observe the router of every WSGI application."""
    when_imported("falcon", _patch, SUPPORTED)


def _patch(module: ModuleType) -> None:
    # An application keeps its router's method from its construction on; it looks this one up.
    surround(module, "App._get_responder", observe_router(_find))


def _find(request: AvatarRequest, result: Any, app: Any, http_request: Any) -> Found | None:
    responder, _, resource, template = result
    if template is None or not is_of(request, http_request.env):
        return None
    if responder.__module__ == DEFAULTS and http_request.method != "OPTIONS":
        return None
    return template, type(resource).__name__
