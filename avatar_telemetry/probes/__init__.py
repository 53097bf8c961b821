"""Probes: patches of libraries that report to the request in progress.

Each is one file. It patches a library when that is imported, before or after the probe, and does
nothing outside a request or a recorded span.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set

from avatar_telemetry.probes import (
    bottle,
    django,
    django_cache,
    errors,
    falcon,
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
    pyramid,
    requests,
    sqlalchemy,
    sqlite3,
    urllib,
    urllib3,
    werkzeug,
)
from avatar_telemetry.probes.policy import POLICY
from avatar_telemetry.profiles.model import Profile

__all__ = ["LIBRARY_PROBES", "POLICY", "PROFILE_PROBES", "install_probes"]

LIBRARY_PROBES: Mapping[str, Callable[[], None]] = {
    "bottle": bottle.install,
    "django": django.install,
    "django_cache": django_cache.install,
    "falcon": falcon.install,
    "httpclient": httpclient.install,
    "httpx": httpx.install,
    "mysqlclient": mysqlclient.install,
    "pillow": pillow.install,
    "psycopg": psycopg.install,
    "psycopg2": psycopg2.install,
    "pylibmc": pylibmc.install,
    "pymemcache": pymemcache.install,
    "pymysql": pymysql.install,
    "pyramid": pyramid.install,
    "requests": requests.install,
    "sqlalchemy": sqlalchemy.install,
    "sqlite3": sqlite3.install,
    "urllib": urllib.install,
    "urllib3": urllib3.install,
    "werkzeug": werkzeug.install,
}
"""Each probe of a library: name in ``AVATAR_TELEMETRY_PROBES`` -> function that installs it."""

PROFILE_PROBES: Mapping[str, Callable[[Profile], None]] = {
    "errors": errors.install,
    "generators": named.install,
}
"""Each probe of the callables and loggers of a profile: name -> function that installs it."""


def install_probes(profile: Profile, off: Set[str] = frozenset()) -> None:
    """Install the probes of libraries and of the profile.

    Args:
        profile: the profile; a call with another one adds the probes of that one.
        off: the names of the probes to leave out. Installed probes are not removed.
    """
    for name, install in LIBRARY_PROBES.items():
        if name not in off:
            install()
    for name, install_for in PROFILE_PROBES.items():
        if name not in off:
            install_for(profile)
