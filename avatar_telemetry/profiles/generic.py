"""Any WSGI program: nothing is known of its routes.

Each request is of the route ``other``, unless a probe sees the URL pattern that the program found.
"""

from avatar_telemetry.profiles.model import Profile

PROFILE = Profile(name="generic", application_routes=True)
