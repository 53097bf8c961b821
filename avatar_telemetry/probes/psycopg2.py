"""Probe of psycopg2: every statement of connections opened after its installation."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from avatar_telemetry.probes.cursor_spans import CursorSpans
from avatar_telemetry.probes.database import observed
from avatar_telemetry.probes.patching import Around, Call, Versions, surround, when_imported
from avatar_telemetry.probes.subclasses import observed_class

SUPPORTED = Versions((2, 8), (3, 0))
SPANS = CursorSpans(
    "postgresql",
    "psycopg2",
    {"database": "info.dbname", "host": "info.host", "port": "info.port"},
)


def install() -> None:
    """Make ``_connect`` return connections whose cursors are observed.

    ``psycopg2.connect`` calls ``_connect``: so a ``connect`` that was imported by name is observed,
    too.
    """
    when_imported("psycopg2", _patch, SUPPORTED)


def _patch(module: ModuleType) -> None:
    extensions = module.extensions
    ours = _connection_class(extensions.connection, extensions.cursor)
    surround(module, "_connect", _around_connect(extensions.connection, ours))


def _connection_class(connection: Any, base: Any) -> type:
    class ObservedCursor(base):  # type: ignore[misc]
        execute = observed(SPANS)(base.execute)
        executemany = observed(SPANS)(base.executemany)
        callproc = observed(SPANS, "CALL")(base.callproc)

    class ObservedConnection(connection):  # type: ignore[misc]
        def cursor(
            self, name: Any = None, cursor_factory: Any = None, *args: Any, **kwargs: Any
        ) -> Any:
            factory = observed_class(cursor_factory or self.cursor_factory, base, ObservedCursor)
            return super().cursor(name, factory, *args, **kwargs)

    return ObservedConnection


def _around_connect(base: type, ours: type) -> Around:
    def around(original: Call) -> Call:
        def connect(dsn: Any, connection_factory: Any = None, *args: Any, **kwargs: Any) -> Any:
            factory = observed_class(connection_factory, base, ours)
            return original(dsn, factory, *args, **kwargs)

        return connect

    return around
