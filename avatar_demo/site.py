"""The objects that all requests of a process share: database, cache, secret."""

from __future__ import annotations

import hashlib
import os
import secrets
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy
from itsdangerous import BadData, URLSafeTimedSerializer
from sqlalchemy import event, text
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from avatar_demo.cache import MemcachedCache, MemoryCache
from avatar_demo.models import Base
from avatar_demo.settings import DemoSettingsError, Settings

MAX_ATTEMPTS = 20
PRAGMAS = ("busy_timeout=10000", "journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON")
SIGNER = {"key_derivation": "hmac", "digest_method": hashlib.sha256}


@dataclass(frozen=True)
class Site:
    """Settings, database, cache and secret of one process.

    Args:
        settings: the settings of the demo.
        database: the factory of database sessions.
        cache: the cache of avatars and of outside services without a picture.
        secret: the key of signed cookies and tokens, the same in all workers.
        trust: the trusted authorities for outside services, ``None`` for the system's.
    """

    settings: Settings
    database: sessionmaker[Session] = field(repr=False)
    cache: MemoryCache | MemcachedCache = field(repr=False)
    secret: bytes = field(repr=False)
    trust: ssl.SSLContext | None = None

    def sign(self, purpose: str, value: object) -> str:
        """Return a token with a value, valid for one purpose, for use in URLs and cookies."""
        return str(self._serializer(purpose).dumps(value))

    def unsign(self, purpose: str, token: str, max_age: int | None = None) -> Any:
        """Return the value of a token, ``None`` if its purpose differs or it is too old.

        Args:
            purpose: the purpose.
            token: the token of a client.
            max_age: the maximum age, in seconds.
        """
        try:
            return self._serializer(purpose).loads(token, max_age=max_age)
        except (BadData, UnicodeError):
            return None

    def _serializer(self, purpose: str) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(self.secret, salt=purpose, signer_kwargs=SIGNER)


def open_site(settings: Settings) -> Site:
    """Open the database and the cache of the settings, in the process that uses them."""
    prepare_directory(settings.data)
    authorities, memcached = settings.gravatar_ca, settings.memcached
    return Site(
        settings=settings,
        database=_open_database(settings.database),
        cache=MemcachedCache(memcached, settings.memcached_timeout) if memcached else MemoryCache(),
        secret=load_secret(settings),
        trust=ssl.create_default_context(cafile=authorities) if authorities else None,
    )


def prepare_directory(directory: Path) -> None:
    """Make the data directory, readable by this user only.

    Raises:
        DemoSettingsError: the directory belongs to another user, or cannot be made.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = directory.lstat().st_uid
    except OSError as error:
        raise DemoSettingsError(f"DEMO_DATA: {error}") from error
    # Another user may have made a directory in a world-writable one, to read the secret.
    if owner != os.geteuid() or not os.access(directory, os.W_OK):
        raise DemoSettingsError(f"DEMO_DATA: {str(directory)!r} is not a directory of this user")


def load_secret(settings: Settings) -> bytes:
    """Return the secret of all workers: the configured one, else that of the data directory."""
    if settings.secret:
        return settings.secret.encode()
    path = settings.data / "secret"
    if not path.exists():
        draft = path.with_name(f"secret.{secrets.token_hex(8)}")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
        try:
            # A link, unlike a rename, does not replace the secret of another worker.
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    secret = path.read_bytes().strip()
    if len(secret) < 32:
        raise DemoSettingsError(f"DEMO_DATA: {str(path)!r} has no secret; remove it")
    return secret


def _open_database(url: URL) -> sessionmaker[Session]:
    is_sqlite = url.get_backend_name() == "sqlite"
    if is_sqlite and url.database not in (None, "", ":memory:"):
        # Readable by this user only; SQLite would make it readable by all.
        os.close(os.open(str(url.database), os.O_RDWR | os.O_CREAT, 0o600))
    # Called through its module, so that a tool can replace it.
    engine = sqlalchemy.create_engine(url, pool_pre_ping=not is_sqlite)
    if is_sqlite:
        event.listen(engine, "connect", _configure_sqlite)
    _create_tables(engine)
    return sessionmaker(engine, expire_on_commit=False)


def _configure_sqlite(connection: Any, record: object) -> None:
    cursor = connection.cursor()
    for pragma in PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _create_tables(engine: Engine) -> None:
    # Workers start together: one that fails finds the tables of another on the next attempt.
    for attempt in range(1, MAX_ATTEMPTS + 1):
        try:
            with engine.begin() as connection, _lock_tables(connection):
                Base.metadata.create_all(connection)
            return
        except DBAPIError:
            if attempt == MAX_ATTEMPTS:
                raise
            time.sleep(0.01 * attempt)


@contextmanager
def _lock_tables(connection: Connection) -> Iterator[None]:
    """Exclude other workers: MariaDB refuses statements on a table that gets an index (error
    1412)."""
    is_mysql = connection.dialect.name in ("mysql", "mariadb")
    if is_mysql:
        connection.execute(text("SELECT GET_LOCK('avatar_demo', 30)"))
    try:
        yield
    finally:
        if is_mysql:
            connection.execute(text("SELECT RELEASE_LOCK('avatar_demo')"))
