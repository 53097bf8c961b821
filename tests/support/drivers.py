"""The drivers of databases, each with its real server: how a test connects, what is where."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from tests.support.requirements import require
from tests.support.waiting import DEADLINE

NAMES = ("sqlite3", "psycopg2", "psycopg", "pymysql", "mysqlclient")
MODULES = {"mysqlclient": "MySQLdb"}
SYSTEMS = {"sqlite3": "sqlite", "psycopg2": "postgresql", "psycopg": "postgresql",
           "pymysql": "mysql", "mysqlclient": "mysql"}  # fmt: skip
DIALECTS = {"sqlite3": "sqlite", "psycopg2": "postgresql+psycopg2", "psycopg": "postgresql+psycopg",
            "pymysql": "mysql+pymysql", "mysqlclient": "mysql+mysqldb"}  # fmt: skip


@dataclass
class Driver:
    """One driver and its server."""

    name: str
    module: ModuleType
    arguments: dict[str, Any]
    url: str

    @property
    def system(self) -> str:
        return SYSTEMS[self.name]

    @property
    def mark(self) -> str:
        return "?" if self.name == "sqlite3" else "%s"

    def connect(self, **more: Any) -> Any:
        if self.name == "sqlite3":
            return self.module.connect(**{"database": ":memory:", **more})
        return self.module.connect(**self.arguments, **more)


def load(name: str) -> ModuleType:
    """A driver's module; skips or fails the test where it is not installed."""
    return require(MODULES.get(name, name))


class Servers:
    """Databases, each started when it is first asked for.

    Args:
        start: returns the URL of a running server; the argument is postgresql or mysql.
    """

    def __init__(self, start: Callable[[str], str]) -> None:
        self.url = start
        self._numbers = count(1)

    def driver(self, name: str) -> Driver:
        module = load(name)
        system = SYSTEMS[name]
        if name == "sqlite3":
            return Driver(name, sqlite3, {}, "sqlite://")
        url = self.url(system)
        engine_url = DIALECTS[name] + "://" + url.partition("://")[2]
        return Driver(name, module, arguments(name, url), engine_url)

    def new_database(self, system: str) -> str:
        """The URL of an empty database."""
        server = self.driver("psycopg" if system == "postgresql" else "pymysql")
        name = f"database_{next(self._numbers)}"
        with closing(server.connect(autocommit=True)) as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
        return self.url(system).rpartition("/")[0] + f"/{name}"


def arguments(name: str, url: str) -> dict[str, Any]:
    """The arguments of ``connect`` of a driver."""
    parts = urlsplit(url)
    database = parts.path.strip("/")
    key = {"psycopg2": "dbname", "psycopg": "dbname"}.get(name, "database")
    found = {"host": parts.hostname, "port": parts.port, "user": parts.username, key: database}
    if name == "pymysql":
        found["connect_timeout"] = int(DEADLINE)  # its own is 10 s
    return {**found, "password": parts.password} if parts.password else found
