"""Probe of PyMySQL: every statement of every cursor, also of earlier connections."""

from __future__ import annotations

from types import ModuleType

from avatar_telemetry.probes.cursor_spans import CursorSpans
from avatar_telemetry.probes.database import observed
from avatar_telemetry.probes.patching import Versions, surround, when_imported

SUPPORTED = Versions((1, 0), (2, 0), "VERSION")  # __version__ is that of mysqlclient
SPANS = CursorSpans("mysql", "pymysql", {"database": "db", "host": "host", "port": "port"})


def install() -> None:
    """Observe the base class of all cursors."""
    when_imported("pymysql", _patch, SUPPORTED)


def _patch(module: ModuleType) -> None:
    cursor = module.cursors.Cursor
    surround(cursor, "execute", observed(SPANS))
    surround(cursor, "executemany", observed(SPANS))
    surround(cursor, "callproc", observed(SPANS, "CALL"))
