"""The database: an engine of this process, and tables made by whoever comes first."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy
from sqlalchemy import event, text
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from avatar_telemetry.demo.models import Base

ATTEMPTS = 20
BUSY_MS = 10_000


def open_database(url: URL) -> sessionmaker[Session]:
    """Sessions on a database that has the tables; never to be used over a fork."""
    # Named with its module, so that an outside tool can take its place.
    engine = sqlalchemy.create_engine(url, pool_pre_ping=url.get_backend_name() != "sqlite")
    if url.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _configure_sqlite)
    _create_tables(engine)
    return sessionmaker(engine, expire_on_commit=False)


def _configure_sqlite(connection: Any, record: object) -> None:
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout={BUSY_MS}",
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """Make tables alone, where each of them and each index shows at once: MariaDB refuses
    statements on a table that another process gives an index (error 1412)."""
    if connection.dialect.name not in ("mysql", "mariadb"):
        yield
        return
    connection.execute(text("SELECT GET_LOCK('avatar_demo', 30)"))
    try:
        yield
    finally:
        connection.execute(text("SELECT RELEASE_LOCK('avatar_demo')"))


def _create_tables(engine: Engine) -> None:
    # Workers start together: the one that loses a race finds the tables on the next attempt.
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with engine.begin() as connection, _alone(connection):
                Base.metadata.create_all(connection)
            return
        except DBAPIError:
            if attempt == ATTEMPTS:
                raise
            time.sleep(0.01 * attempt)
