"""The profile of an application whose routes are unknown.

Each request has the route ``other``, unless a probe reports the route that the application's own
router found.
"""

from avatar_telemetry.profiles.model import Profile

PROFILE = Profile(name="generic", application_routes=True)
