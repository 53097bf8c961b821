"""The installed packages: their versions, and which probes have a library to patch."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec

from packaging.requirements import Requirement

from avatar_telemetry.cli.checks.finding import Finding, error, good, select, warning
from avatar_telemetry.cli.environment import is_demo
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.profiles.model import Profile

DISTRIBUTION = "avatar-telemetry"
OLDEST, NEWEST = (3, 10), (3, 13)
PATCHED = {
    "bottle": "bottle", "django": "django", "django_cache": "django", "falcon": "falcon",
    "httpclient": "http.client", "httpx": "httpx", "mysqlclient": "MySQLdb", "pillow": "PIL",
    "psycopg": "psycopg", "psycopg2": "psycopg2", "pylibmc": "pylibmc", "pymemcache": "pymemcache",
    "pymysql": "pymysql", "pyramid": "pyramid", "requests": "requests", "sqlalchemy": "sqlalchemy",
    "sqlite3": "sqlite3", "urllib": "urllib.request", "urllib3": "urllib3", "werkzeug": "werkzeug",
}  # fmt: skip
"""The module that the probe of each library patches."""
DRIVERS = ("mysqlclient", "psycopg", "psycopg2", "pymysql")
"""Database drivers without sqlite3, which is part of Python and seldom used by the application."""


def check_installed(settings: Settings | None, profile: Profile | None) -> Iterator[Finding]:
    """Check the installation, also without settings and a profile."""
    python, off = platform.python_version(), settings.probes_off if settings else frozenset()
    on = [name for name in PATCHED if name not in off]
    active = [name for name in on if _is_installed(PATCHED[name])]
    idle = [name for name in on if name not in active]
    # The spans of SQL statements need packages of OpenTelemetry, which are an extra.
    without_spans = [
        name for name in DRIVERS
        if name in active and not _is_installed(f"opentelemetry.instrumentation.{name}")
    ]  # fmt: skip
    makes_images = settings and "generators" not in off and not is_demo(settings)
    modules = [each.partition(":")[0] for each in (profile.generators if profile else ())]
    missing = [each for each in modules if not _is_installed(each)]
    yield from _check_packages(python)
    yield from select(
        (not OLDEST <= sys.version_info[:2] <= NEWEST, "warning", "packages.python",
         f"Python {python} is not a tested version",
         f"Use Python {OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}."),
        (True, "good", "packages.probes", f"active probes: {', '.join(active) or 'none'}", ""),
        (idle, "note", "packages.probes_idle", f"probes without their library: {', '.join(idle)}",
         ""),
        (off, "note", "packages.probes_off", f"probes that are off: {', '.join(sorted(off))}",
         "AVATAR_TELEMETRY_PROBES excludes them; their counts are missing in the metrics."),
        (settings and settings.export_enabled and without_spans, "note", "packages.statements",
         f"SQL statements of {', '.join(without_spans)} have no spans",
         "pip install 'avatar-telemetry[databases]' for spans; counts need no package."),
        (makes_images and missing, "note", "packages.generators",
         f"generators of the profile that are not installed: {', '.join(missing)}",
         "Run the doctor in the environment of the avatar server, or choose its profile"
         " (AVATAR_TELEMETRY_PROFILE)."),
    )  # fmt: skip


def _check_packages(python: str) -> Iterator[Finding]:
    try:
        faults = [fault for text in requires(DISTRIBUTION) or () if (fault := _fault(text))]
    except PackageNotFoundError:
        yield warning(
            "packages.not_installed", f"{DISTRIBUTION} is imported, but not installed",
            f"pip install {DISTRIBUTION}, so that the versions of its requirements are checked.",
        )  # fmt: skip
        return
    for fault in faults:
        advice = f"pip install --upgrade {DISTRIBUTION} in this environment ({sys.prefix})."
        yield error("packages.version", fault, advice)
    if not faults:
        own, sdk, server = map(version, (DISTRIBUTION, "opentelemetry-sdk", "gunicorn"))
        versions = f"{DISTRIBUTION} {own}, OpenTelemetry {sdk}, gunicorn {server}, Python {python}"
        yield good("packages.versions", versions)


def _fault(text: str) -> str:
    """Return the fault of a requirement, an empty text where it is met or does not apply."""
    requirement = Requirement(text)
    if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
        return ""
    try:
        installed = version(requirement.name)
    except PackageNotFoundError:
        return f"{requirement.name}: not installed"
    if requirement.specifier.contains(installed, prereleases=True):
        return ""
    return f"{requirement.name}: {installed} is installed, {requirement.specifier} is required"


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
