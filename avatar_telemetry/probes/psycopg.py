"""Probe of psycopg (3): every statement of every cursor, also of earlier connections."""

from __future__ import annotations

from types import ModuleType

from avatar_telemetry.probes.cursor_spans import CursorSpans
from avatar_telemetry.probes.database import observed, observed_async
from avatar_telemetry.probes.patching import Versions, surround, when_imported

SUPPORTED = Versions((3, 1), (4, 0))
SPANS = CursorSpans(
    "postgresql",
    "psycopg",
    {"database": "info.dbname", "host": "info.host", "port": "info.port"},
)


def install() -> None:
    """Observe client-side and server-side cursors, and the asynchronous ones."""
    when_imported("psycopg", _patch, SUPPORTED)


def _patch(module: ModuleType) -> None:
    for name in ("Cursor", "ServerCursor"):
        for method in ("execute", "executemany"):
            surround(module, f"{name}.{method}", observed(SPANS))
            surround(module, f"Async{name}.{method}", observed_async(SPANS))
