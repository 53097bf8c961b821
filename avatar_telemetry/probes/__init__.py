"""Probes: what tells the request in progress of things that the response does not show.

Each is one file. It patches a library when that is imported, before or after the probe, and does
nothing outside a request, or outside a span that somebody else records.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set

from avatar_telemetry.probes import (
    django,
    django_cache,
    errors,
    httpclient,
    httpx,
    mysqlclient,
    named,
    pillow,
    psycopg,
    psycopg2,
    pylibmc,
    pymemcache,
    pymysql,
    requests,
    sqlalchemy,
    sqlite3,
    urllib,
    urllib3,
)
from avatar_telemetry.probes.policy import POLICY
from avatar_telemetry.profiles.model import Profile

__all__ = ["OF_LIBRARIES", "OF_PROFILES", "POLICY", "install_probes"]

OF_LIBRARIES: Mapping[str, Callable[[], None]] = {
    "django": django.install,
    "django_cache": django_cache.install,
    "httpclient": httpclient.install,
    "httpx": httpx.install,
    "mysqlclient": mysqlclient.install,
    "pillow": pillow.install,
    "psycopg": psycopg.install,
    "psycopg2": psycopg2.install,
    "pylibmc": pylibmc.install,
    "pymemcache": pymemcache.install,
    "pymysql": pymysql.install,
    "requests": requests.install,
    "sqlalchemy": sqlalchemy.install,
    "sqlite3": sqlite3.install,
    "urllib": urllib.install,
    "urllib3": urllib3.install,
}
"""Every probe of a library: name in ``AVATAR_TELEMETRY_PROBES`` -> how it is installed."""

OF_PROFILES: Mapping[str, Callable[[Profile], None]] = {
    "errors": errors.install,
    "generators": named.install,
}
"""Every probe of what a profile names, by its name."""


def install_probes(profile: Profile, off: Set[str] = frozenset()) -> None:
    """Install the probes of libraries, and those of what the profile names.

    Args:
        profile: calling again with another one adds what that names.
        off: names of the probes to leave out. What was installed before stays.
    """
    for name, install in OF_LIBRARIES.items():
        if name not in off:
            install()
    for name, install_for in OF_PROFILES.items():
        if name not in off:
            install_for(profile)
