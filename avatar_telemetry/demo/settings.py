"""Settings of the demo: frozen values, read once from ``DEMO_*`` variables."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

FOLDER = "avatar-telemetry-demo"
MIN_SECRET = 16
DRIVERS = {
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
}
_YES = frozenset({"1", "true", "yes", "on"})
_NO = frozenset({"", "0", "false", "no", "off"})


class DemoSettingsError(ValueError):
    """A ``DEMO_*`` variable cannot be used; the message names it."""


@dataclass(frozen=True)
class Settings:
    """What the demo can be told from outside.

    Args:
        data: folder of the secret and of the default database.
        database: SQLAlchemy URL.
        secret: signs cookies and tokens; empty means the one kept in ``data``.
        memcached: ``host:port`` or a Unix socket's path; empty means a cache in memory.
        memcached_timeout: seconds after which it is taken to have nothing.
        gravatar: send requests without a photo and without ``d`` to the Gravatar proxy.
        gravatar_url: scheme and host of Gravatar.
        gravatar_ca: file with the authorities to trust there, empty for the system's.
        bluesky_url: scheme and host of Bluesky's public API.
        outside_timeout: seconds that Gravatar and Bluesky are waited for.
        max_upload: bytes of a photo.
        max_pixels: width times height of a photo.
        max_photos: photos of one user.
    """

    data: Path
    database: URL
    secret: str = field(default="", repr=False)
    memcached: str = ""
    memcached_timeout: float = 0.3
    gravatar: bool = False
    gravatar_url: str = "https://secure.gravatar.com"
    gravatar_ca: str = ""
    bluesky_url: str = "https://public.api.bsky.app"
    outside_timeout: float = 5.0
    max_upload: int = 10 * 1024 * 1024
    max_pixels: int = 25_000_000
    max_photos: int = 5

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Settings:
        """Settings from a mapping such as ``os.environ``.

        Raises:
            DemoSettingsError: a value cannot be used.
        """
        data = _folder(environ)
        return cls(
            data=data,
            database=_database(environ, data),
            secret=_secret(environ),
            memcached=_memcached(environ),
            memcached_timeout=_seconds(environ, "DEMO_MEMCACHED_TIMEOUT", cls.memcached_timeout),
            gravatar=_flag(environ, "DEMO_GRAVATAR"),
            gravatar_url=_host(environ, "DEMO_GRAVATAR_URL", cls.gravatar_url),
            gravatar_ca=_existing_file(environ, "DEMO_GRAVATAR_CA"),
            bluesky_url=_host(environ, "DEMO_BLUESKY_URL", cls.bluesky_url),
            outside_timeout=_seconds(environ, "DEMO_OUTSIDE_TIMEOUT", cls.outside_timeout),
            max_upload=_positive(environ, "DEMO_MAX_UPLOAD", cls.max_upload),
            max_pixels=_positive(environ, "DEMO_MAX_PIXELS", cls.max_pixels),
            max_photos=_positive(environ, "DEMO_MAX_PHOTOS", cls.max_photos),
        )


def _folder(environ: Mapping[str, str]) -> Path:
    """The data folder, which the first request makes where it is not there."""
    folder = Path(environ.get("DEMO_DATA") or _default_folder(environ))
    there = next(each for each in (folder, *folder.absolute().parents) if os.path.exists(each))
    if not there.is_dir():
        raise DemoSettingsError(f"DEMO_DATA: {str(there)!r} is not a folder")
    return folder


def _default_folder(environ: Mapping[str, str]) -> str:
    cache = environ.get("XDG_CACHE_HOME") or os.path.join(environ.get("HOME", ""), ".cache")
    base = os.path.dirname(cache)
    if os.path.isabs(cache) and os.access(cache if os.path.isdir(cache) else base, os.W_OK):
        return os.path.join(cache, FOLDER)
    return os.path.join(tempfile.gettempdir(), f"{FOLDER}-{os.geteuid()}")


def _database(environ: Mapping[str, str], data: Path) -> URL:
    text = environ.get("DEMO_DATABASE", "")
    if not text:
        return URL.create("sqlite", database=str(data / "demo.sqlite3"))
    try:
        url = make_url(text)
        url = url.set(drivername=DRIVERS.get(url.drivername, url.drivername))
        url.get_dialect()
    except (ArgumentError, ValueError):
        # Not the value: it may hold a password.
        raise DemoSettingsError(
            "DEMO_DATABASE is not the URL of a database that is known"
        ) from None
    return url


def _secret(environ: Mapping[str, str]) -> str:
    secret = environ.get("DEMO_SECRET", "")
    if secret and len(secret) < MIN_SECRET:
        raise DemoSettingsError(f"DEMO_SECRET is shorter than {MIN_SECRET} characters")
    return secret


def _memcached(environ: Mapping[str, str]) -> str:
    address = environ.get("DEMO_MEMCACHED", "")
    if not address or address.startswith(("/", "unix:")):
        return address
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isdecimal() and 0 < int(port) < 65536):
        raise DemoSettingsError(
            f"DEMO_MEMCACHED: {address!r} is neither host:port nor the path of a socket"
        )
    return address


def _flag(environ: Mapping[str, str], name: str) -> bool:
    text = environ.get(name, "").lower()
    if text not in _YES | _NO:
        raise DemoSettingsError(f"{name}: {text!r} is neither 1 nor 0")
    return text in _YES


def _host(environ: Mapping[str, str], name: str, default: str) -> str:
    text = environ.get(name) or default
    try:
        parts = urlsplit(text)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
        raise DemoSettingsError(f"{name} is not an http or https URL")
    return text.rstrip("/")


def _existing_file(environ: Mapping[str, str], name: str) -> str:
    path = environ.get(name, "")
    if path and not os.path.isfile(path):
        raise DemoSettingsError(f"{name}: {path!r} is not a file")
    return path


def _positive(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name) or str(default)
    if not (text.isdecimal() and 0 < int(text) < 2**31):
        raise DemoSettingsError(f"{name}: {text!r} is not a positive number")
    return int(text)


def _seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name) or str(default)
    if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,6})?", text, re.ASCII) or not float(text):
        raise DemoSettingsError(f"{name}: {text!r} is not a positive number of seconds")
    return float(text)
