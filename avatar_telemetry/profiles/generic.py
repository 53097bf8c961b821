"""The profile of an application whose routes are unknown.

Each request has the route ``other``, unless a probe reports the application's URL pattern.
"""

from avatar_telemetry.profiles.model import Profile

PROFILE = Profile(name="generic", application_routes=True)
