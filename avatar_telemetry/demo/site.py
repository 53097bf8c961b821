"""What all requests of one process share."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field

from sqlalchemy.orm import Session, sessionmaker

from avatar_telemetry.demo.cache import Cache, MemcachedCache, MemoryCache
from avatar_telemetry.demo.database import open_database
from avatar_telemetry.demo.secret import load_secret, prepare_database_file, prepare_folder
from avatar_telemetry.demo.sessions import Sessions
from avatar_telemetry.demo.settings import Settings
from avatar_telemetry.demo.signing import Signer


@dataclass(frozen=True)
class Site:
    """Settings, database, cache and keys of one process.

    Args:
        settings: of the demo.
        database: makes database sessions.
        cache: of avatars and of the proxies' notes.
        signer: of cookies and tokens.
        sessions: who is logged in.
        trust: the authorities to trust behind the proxies, ``None`` for the system's.
    """

    settings: Settings
    database: sessionmaker[Session] = field(repr=False)
    cache: Cache = field(repr=False)
    signer: Signer = field(repr=False)
    sessions: Sessions = field(repr=False)
    trust: ssl.SSLContext | None = None


def open_site(settings: Settings) -> Site:
    """Open what the settings name. Call it in the process that will use it."""
    prepare_folder(settings.data)
    prepare_database_file(settings.database)
    signer = Signer(load_secret(settings))
    database = open_database(settings.database)
    authorities = settings.gravatar_ca
    memcached, timeout = settings.memcached, settings.memcached_timeout
    return Site(
        settings=settings,
        database=database,
        cache=MemcachedCache(memcached, timeout) if memcached else MemoryCache(),
        signer=signer,
        sessions=Sessions(database, signer),
        trust=ssl.create_default_context(cafile=authorities) if authorities else None,
    )
