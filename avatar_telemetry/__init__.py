"""OpenTelemetry spans and Prometheus metrics for an unmodified WSGI avatar server."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from avatar_telemetry._base.errors import AvatarTelemetryError, ProfileError, SettingsError
    from avatar_telemetry.api.by_hand import current_request, get_avatar_metrics
    from avatar_telemetry.api.decorators import (
        trace_authentication,
        trace_avatar_operation,
        trace_file_upload,
    )
    from avatar_telemetry.config.settings import Settings
    from avatar_telemetry.profiles.model import Profile, Route
    from avatar_telemetry.runtime.instrument import instrument

__all__ = [
    "AvatarTelemetryError",
    "Profile",
    "ProfileError",
    "Route",
    "Settings",
    "SettingsError",
    "current_request",
    "get_avatar_metrics",
    "instrument",
    "trace_authentication",
    "trace_avatar_operation",
    "trace_file_upload",
]

_MODULES = {
    "runtime.instrument": ("instrument",),
    "api.by_hand": ("current_request", "get_avatar_metrics"),
    "config.settings": ("Settings",),
    "api.decorators": ("trace_authentication", "trace_avatar_operation", "trace_file_upload"),
    "_base.errors": ("AvatarTelemetryError", "ProfileError", "SettingsError"),
    "profiles.model": ("Profile", "Route"),
}


def __getattr__(name: str) -> object:
    """Import a public name at its first use (PEP 562): most commands need none of them."""
    for module, names in _MODULES.items():
        if name in names:
            return globals().setdefault(name, getattr(import_module(f".{module}", __name__), name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
