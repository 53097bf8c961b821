"""Probes: what tells the request in progress of things that the response does not show.

Each is one file. It patches a library when that is imported, before or after the probe, and does
nothing outside a request.
"""

from __future__ import annotations

from avatar_telemetry.probes import (
    django,
    django_cache,
    errors,
    named,
    pillow,
    pymemcache,
    requests,
    urllib,
    urllib3,
)
from avatar_telemetry.profile import Profile

__all__ = ["install_probes"]


def install_probes(profile: Profile) -> None:
    """Install the probes of libraries, and those of what the profile names.

    Args:
        profile: calling again with another one adds what that names.
    """
    for probe in (django, django_cache, pillow, pymemcache, urllib, requests, urllib3):
        probe.install()
    for probe_of_profile in (errors, named):
        probe_of_profile.install(profile)
