"""Any WSGI program: nothing is known, every request is of the one route ``other``."""

from avatar_telemetry.profile import Profile

PROFILE = Profile(name="generic")
