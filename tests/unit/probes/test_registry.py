"""The one list of probes, and how they are left out."""

from __future__ import annotations

import subprocess
import sys

from avatar_telemetry.config.settings import PROBES
from avatar_telemetry.probes import LIBRARY_PROBES, PROFILE_PROBES

READ_BY_MIDDLEWARE = {"routing_args"}
"""It patches nothing."""


def test_every_probe_can_be_turned_off() -> None:
    """What is installed has a name that ``AVATAR_TELEMETRY_PROBES`` knows."""
    assert {*LIBRARY_PROBES, *PROFILE_PROBES, *READ_BY_MIDDLEWARE} == set(PROBES)


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


INSTALL = """
import sys
from avatar_telemetry.probes import install_probes
from avatar_telemetry.profiles.generic import PROFILE
before = set(sys.modules)
install_probes(PROFILE, {off!r})
"""


def test_installing_imports_nothing() -> None:
    """No library, and no instrumentation of one, is imported for its probe."""
    told = run(INSTALL.format(off=set()) + "print(sorted(set(sys.modules) - before))")
    assert told == "[]"


def test_a_library_that_is_imported_later_brings_no_instrumentation() -> None:
    """Instrumentations are imported when the first span is wanted."""
    told = run(
        INSTALL.format(off=set())
        + "import sqlite3, sqlalchemy, pymemcache\n"
        + "sqlite3.connect(':memory:').execute('SELECT 1').close()\n"
        + "names = ('dbapi', 'pymemcache', 'sqlalchemy', 'sqlite3')\n"
        + "theirs = {f'opentelemetry.instrumentation.{name}' for name in names}\n"
        + "print(sorted(theirs & set(sys.modules)))"
    )
    assert told == "[]"


def test_probes_that_are_off() -> None:
    """A probe that is turned off leaves its library as it is."""
    ask = "import sqlite3; print(type(sqlite3.connect(':memory:')) is sqlite3.Connection)"
    assert run(INSTALL.format(off={"sqlite3"}) + ask) == "True"
    assert run(INSTALL.format(off=set()) + ask) == "False"
