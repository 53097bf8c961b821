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

ATTEMPTS = 20
PRAGMAS = ("busy_timeout=10000", "journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON")
SIGNER = {"key_derivation": "hmac", "digest_method": hashlib.sha256}


@dataclass(frozen=True)
class Site:
    """Settings, database, cache and secret of one process.

    Args:
        settings: of the demo.
        database: makes database sessions.
        cache: of avatars and of the responses of outside services.
        secret: signs cookies and tokens, the same in all workers.
        trust: the authorities to trust for outside services, ``None`` for the system's.
    """

    settings: Settings
    database: sessionmaker[Session] = field(repr=False)
    cache: MemoryCache | MemcachedCache = field(repr=False)
    secret: bytes = field(repr=False)
    trust: ssl.SSLContext | None = None

    def sign(self, purpose: str, value: object) -> str:
        """A token with a value, valid for one purpose, fit for a URL and a cookie."""
        return str(self._serializer(purpose).dumps(value))

    def unsign(self, purpose: str, token: str, max_age: int | None = None) -> Any:
        """The value of a token, ``None`` if it was not signed for this purpose or is too old.

        Args:
            purpose: as it was signed.
            token: of a client.
            max_age: seconds.
        """
        try:
            return self._serializer(purpose).loads(token, max_age=max_age)
        except (BadData, UnicodeError):
            return None

    def _serializer(self, purpose: str) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(self.secret, salt=purpose, signer_kwargs=SIGNER)


def open_site(settings: Settings) -> Site:
    """Open what the settings name, in the process that will use it."""
    prepare_folder(settings.data)
    authorities, memcached = settings.gravatar_ca, settings.memcached
    return Site(
        settings=settings,
        database=_open_database(settings.database),
        cache=MemcachedCache(memcached, settings.memcached_timeout) if memcached else MemoryCache(),
        secret=load_secret(settings),
        trust=ssl.create_default_context(cafile=authorities) if authorities else None,
    )


def prepare_folder(folder: Path) -> None:
    """Make the data folder, readable for this user only.

    Raises:
        DemoSettingsError: it belongs to another user, or cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = folder.lstat().st_uid
    except OSError as error:
        raise DemoSettingsError(f"DEMO_DATA: {error}") from error
    # A folder in a world-writable place may have been put there to read the secret.
    if owner != os.geteuid() or not os.access(folder, os.W_OK):
        raise DemoSettingsError(f"DEMO_DATA: {str(folder)!r} is not a folder of this user")


def load_secret(settings: Settings) -> bytes:
    """The secret of all workers: the configured one, else one kept in the data folder."""
    if settings.secret:
        return settings.secret.encode()
    path = settings.data / "secret"
    if not path.exists():
        draft = path.with_name(f"secret.{secrets.token_hex(8)}")
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
        try:
            # A link, unlike a rename, keeps the secret of the worker that was first.
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    secret = path.read_bytes().strip()
    if len(secret) < 32:
        raise DemoSettingsError(f"DEMO_DATA: {str(path)!r} holds no secret; remove it")
    return secret


def _open_database(url: URL) -> sessionmaker[Session]:
    is_sqlite = url.get_backend_name() == "sqlite"
    if is_sqlite and url.database not in (None, "", ":memory:"):
        # Readable for this user only, before SQLite makes it for everybody.
        os.close(os.open(str(url.database), os.O_RDWR | os.O_CREAT, 0o600))
    # Named with its module, so that an outside tool can take its place.
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
    # Workers start together: the one that loses a race finds the tables on the next attempt.
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with engine.begin() as connection, _lock_tables(connection):
                Base.metadata.create_all(connection)
            return
        except DBAPIError:
            if attempt == ATTEMPTS:
                raise
            time.sleep(0.01 * attempt)


@contextmanager
def _lock_tables(connection: Connection) -> Iterator[None]:
    """Wait for the other workers: MariaDB refuses statements on a table that gets an index
    (error 1412)."""
    is_mysql = connection.dialect.name in ("mysql", "mariadb")
    if is_mysql:
        connection.execute(text("SELECT GET_LOCK('avatar_demo', 30)"))
    try:
        yield
    finally:
        if is_mysql:
            connection.execute(text("SELECT RELEASE_LOCK('avatar_demo')"))
