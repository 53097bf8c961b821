"""Probe of sqlite3: every statement of connections opened after its installation.

A ``connect`` that was imported by name before, or a ``sqlite3.Connection`` that the application
makes itself, is not observed.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from avatar_telemetry.probes.cursor_spans import CursorSpans
from avatar_telemetry.probes.database import observed
from avatar_telemetry.probes.patching import Around, Call, surround, when_imported
from avatar_telemetry.probes.subclasses import observed_class

SPANS = CursorSpans("sqlite", "sqlite3", {})
FACTORY = 5
"""The position of ``factory`` in the arguments of ``connect``."""


def install() -> None:
    """Make ``connect`` return connections whose cursors are observed."""
    when_imported("sqlite3", _patch)


def _patch(module: ModuleType) -> None:
    around = _around_connect(module.Connection, _connection_class(module))
    for owner in (module, module.dbapi2):
        surround(owner, "connect", around)


def _connection_class(module: ModuleType) -> type:
    base: Any = module.Cursor
    connection: Any = module.Connection

    class ObservedCursor(base):  # type: ignore[misc]
        execute = observed(SPANS)(base.execute)
        executemany = observed(SPANS)(base.executemany)
        executescript = observed(SPANS)(base.executescript)

    class ObservedConnection(connection):  # type: ignore[misc]
        def cursor(self, factory: Any = base) -> Any:
            return super().cursor(observed_class(factory, base, ObservedCursor))

        # The shortcuts, in C, would make a plain cursor.

        def execute(self, *args: Any, **kwargs: Any) -> Any:
            return super().cursor(ObservedCursor).execute(*args, **kwargs)

        def executemany(self, *args: Any, **kwargs: Any) -> Any:
            return super().cursor(ObservedCursor).executemany(*args, **kwargs)

        def executescript(self, *args: Any, **kwargs: Any) -> Any:
            return super().cursor(ObservedCursor).executescript(*args, **kwargs)

    return ObservedConnection


def _around_connect(base: type, ours: type) -> Around:
    def around(original: Call) -> Call:
        def connect(*args: Any, **kwargs: Any) -> Any:
            if len(args) > FACTORY:
                given = observed_class(args[FACTORY], base, ours)
                args = (*args[:FACTORY], given, *args[FACTORY + 1 :])
            else:
                kwargs["factory"] = observed_class(kwargs.get("factory"), base, ours)
            return original(*args, **kwargs)

        return connect

    return around
