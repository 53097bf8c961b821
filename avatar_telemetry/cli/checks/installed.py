"""The installation: versions, and which probes have something to watch."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec

from packaging.requirements import InvalidRequirement, Requirement

from avatar_telemetry.cli.checks.finding import Finding, error, good, note, warning
from avatar_telemetry.cli.environment import is_demo
from avatar_telemetry.config.settings import PROBES, Settings
from avatar_telemetry.profile import Profile

DISTRIBUTION = "avatar-telemetry"
OLDEST, NEWEST = (3, 10), (3, 13)
WATCHED = {
    "django": "django", "django_cache": "django", "httpclient": "http.client", "httpx": "httpx",
    "mysqlclient": "MySQLdb", "pillow": "PIL", "psycopg": "psycopg", "psycopg2": "psycopg2",
    "pylibmc": "pylibmc", "pymemcache": "pymemcache", "pymysql": "pymysql",
    "requests": "requests", "sqlalchemy": "sqlalchemy", "sqlite3": "sqlite3",
    "urllib": "urllib.request", "urllib3": "urllib3",
}  # fmt: skip
"""The module that each probe watches."""
DRIVERS = ("mysqlclient", "psycopg", "psycopg2", "pymysql")
"""Those of databases; sqlite3 is everywhere and seldom meant."""


def check_installed(settings: Settings | None, profile: Profile | None) -> Iterator[Finding]:
    """Look at what is installed.

    Args:
        settings: of the server, ``None`` where they cannot be used.
        profile: of the application, likewise.
    """
    yield from _python()
    yield from _packages()
    off = settings.probes_off if settings else frozenset()
    yield from _probes(off)
    if settings:
        yield from _statements(settings)
    if settings and profile and "generators" not in off and not is_demo(settings):
        yield from _generators(profile)


def _python() -> Iterator[Finding]:
    running = sys.version_info[:2]
    if not OLDEST <= running <= NEWEST:
        yield warning(
            "packages.python", f"Python {platform.python_version()} is not one of those tested",
            f"Use Python {OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}.",
        )  # fmt: skip


def _packages() -> Iterator[Finding]:
    try:
        wanted = requires(DISTRIBUTION) or []
    except PackageNotFoundError:
        yield warning(
            "packages.not_installed", f"{DISTRIBUTION} itself is not installed, only imported",
            f"pip install {DISTRIBUTION}, so that the versions of its packages are kept.",
        )  # fmt: skip
        return
    faults = [fault for text in wanted if (fault := _fault(text))]
    for name, what in faults:
        advice = f"pip install --upgrade {DISTRIBUTION} in this environment ({sys.prefix})."
        yield error("packages.version", f"{name}: {what}", advice)
    if not faults:
        yield good(
            "packages.versions",
            f"{DISTRIBUTION} {version(DISTRIBUTION)}, OpenTelemetry {version('opentelemetry-sdk')},"
            f" gunicorn {version('gunicorn')}, Python {platform.python_version()}",
        )


def _fault(text: str) -> tuple[str, str] | None:
    """What is wrong with a package that is needed."""
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return None
    if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
        return None
    try:
        installed = version(requirement.name)
    except PackageNotFoundError:
        return requirement.name, "not installed"
    if not requirement.specifier.contains(installed, prereleases=True):
        return requirement.name, f"{installed} is installed, {requirement.specifier} is needed"
    return None


def _probes(off: frozenset[str]) -> Iterator[Finding]:
    ours = [name for name in PROBES if name in WATCHED and _has(f"avatar_telemetry.probes.{name}")]
    watching = [name for name in ours if name not in off and _has(WATCHED[name])]
    absent = [name for name in ours if name not in off and name not in watching]
    yield good("packages.probes", f"probes that apply: {', '.join(watching) or 'none'}")
    if absent:
        yield note(
            "packages.probes_idle", f"nothing to watch for: {', '.join(absent)} (not installed)"
        )
    if off:
        yield note(
            "packages.probes_off", f"left out: {', '.join(sorted(off))}",
            "AVATAR_TELEMETRY_PROBES says so; what they would see is in no metric.",
        )  # fmt: skip


def _statements(settings: Settings) -> Iterator[Finding]:
    """Spans of SQL statements come from packages of OpenTelemetry, which are an extra."""
    silent = [
        name
        for name in DRIVERS
        if name not in settings.probes_off
        and _has(WATCHED[name])
        and not _has(f"opentelemetry.instrumentation.{name}")
    ]
    if settings.export_enabled and silent:
        yield note(
            "packages.statements",
            f"statements through {', '.join(silent)} get no spans of their own",
            "pip install 'avatar-telemetry[databases]' for them; they are counted all the same.",
        )  # fmt: skip


def _generators(profile: Profile) -> Iterator[Finding]:
    missing = [each for each in profile.generators if not _has(each.partition(":")[0])]
    if missing:
        yield note(
            "packages.generators",
            f"generators of profile {profile.name} that are not installed here: "
            + ", ".join(each.partition(":")[0] for each in missing),
            "Run the doctor in the environment of the avatar server, or choose its profile"
            " (AVATAR_TELEMETRY_PROFILE).",
        )


def _has(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
