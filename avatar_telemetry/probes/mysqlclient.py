"""Probe of mysqlclient (``MySQLdb``): every statement, also of earlier connections."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from avatar_telemetry.probes.cursor_spans import CursorSpans
from avatar_telemetry.probes.database import observed
from avatar_telemetry.probes.patching import Versions, surround, when_imported

SUPPORTED = Versions((1, 4), (3, 0), "version_info")
SPANS = CursorSpans("mysql", "mysqlclient", {"database": "db", "host": "host", "port": "port"})


def install() -> None:
    """Observe the base class of all cursors."""
    when_imported("MySQLdb", _patch, SUPPORTED)


def _patch(module: ModuleType) -> None:
    cursor = import_module("MySQLdb.cursors").BaseCursor
    surround(cursor, "execute", observed(SPANS))
    surround(cursor, "executemany", observed(SPANS))
    surround(cursor, "callproc", observed(SPANS, "CALL"))
