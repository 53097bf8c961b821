"""OpenTelemetry spans and Prometheus metrics around a WSGI avatar server, without touching it."""

from avatar_telemetry._instrument import instrument
from avatar_telemetry.by_hand import current_request, get_avatar_metrics
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.decorators import (
    trace_authentication,
    trace_avatar_operation,
    trace_file_upload,
)
from avatar_telemetry.errors import AvatarTelemetryError, ProfileError, SettingsError
from avatar_telemetry.profile import Profile, Route

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
