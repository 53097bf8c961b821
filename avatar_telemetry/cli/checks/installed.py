"""The installed packages: their versions, and which probes have a library to patch."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec

from packaging.requirements import Requirement

from avatar_telemetry.cli.checks.finding import Finding, error, good, note, warning
from avatar_telemetry.cli.environment import is_demo
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.profile import Profile

DISTRIBUTION = "avatar-telemetry"
OLDEST, NEWEST = (3, 10), (3, 13)
PATCHED = {
    "django": "django", "django_cache": "django", "httpclient": "http.client", "httpx": "httpx",
    "mysqlclient": "MySQLdb", "pillow": "PIL", "psycopg": "psycopg", "psycopg2": "psycopg2",
    "pylibmc": "pylibmc", "pymemcache": "pymemcache", "pymysql": "pymysql",
    "requests": "requests", "sqlalchemy": "sqlalchemy", "sqlite3": "sqlite3",
    "urllib": "urllib.request", "urllib3": "urllib3",
}  # fmt: skip
"""The module that each probe of a library patches."""
DRIVERS = ("mysqlclient", "psycopg", "psycopg2", "pymysql")
"""Database drivers; sqlite3 is part of Python and seldom the database of the application."""


def check_installed(settings: Settings | None, profile: Profile | None) -> Iterator[Finding]:
    """Check the installation.

    Args:
        settings: of the server, ``None`` where they cannot be used.
        profile: of the application, ``None`` where it cannot be loaded.
    """
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        yield warning(
            "packages.python", f"Python {platform.python_version()} is not a tested version",
            f"Use Python {OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}.",
        )  # fmt: skip
    yield from _check_packages()
    off = settings.probes_off if settings else frozenset()
    yield from _check_probes(off)
    if settings and settings.export_enabled:
        yield from _check_drivers(off)
    if profile and settings and "generators" not in off and not is_demo(settings):
        modules = [each.partition(":")[0] for each in profile.generators]
        if missing := [each for each in modules if not _is_installed(each)]:
            yield note(
                "packages.generators",
                f"generators of profile {profile.name} that are not installed: "
                + ", ".join(missing),
                "Run the doctor in the environment of the avatar server, or choose its profile"
                " (AVATAR_TELEMETRY_PROFILE).",
            )  # fmt: skip


def _check_packages() -> Iterator[Finding]:
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
        yield good(
            "packages.versions",
            f"{DISTRIBUTION} {version(DISTRIBUTION)}, OpenTelemetry {version('opentelemetry-sdk')},"
            f" gunicorn {version('gunicorn')}, Python {platform.python_version()}",
        )  # fmt: skip


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


def _check_probes(off: frozenset[str]) -> Iterator[Finding]:
    on = [name for name in PATCHED if name not in off]
    active = [name for name in on if _is_installed(PATCHED[name])]
    idle = [name for name in on if name not in active]
    yield good("packages.probes", f"probes that apply: {', '.join(active) or 'none'}")
    if idle:
        yield note("packages.probes_idle", f"probes without their library: {', '.join(idle)}")
    if off:
        yield note(
            "packages.probes_off", f"probes that are off: {', '.join(sorted(off))}",
            "AVATAR_TELEMETRY_PROBES excludes them; no metric has their counts.",
        )  # fmt: skip


def _check_drivers(off: frozenset[str]) -> Iterator[Finding]:
    """Check for the packages of OpenTelemetry, an extra, that make the spans of SQL statements."""
    drivers = [name for name in DRIVERS if name not in off and _is_installed(PATCHED[name])]
    missing = [
        name for name in drivers if not _is_installed(f"opentelemetry.instrumentation.{name}")
    ]
    if missing:
        yield note(
            "packages.statements", f"SQL statements of {', '.join(missing)} have no spans",
            "pip install 'avatar-telemetry[databases]' for spans; counts need no package.",
        )  # fmt: skip


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
