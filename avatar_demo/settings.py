"""Settings of the demo: frozen values, read once from ``DEMO_*`` variables."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

DIRECTORY = "avatar-telemetry-demo"
DRIVERS = {
    "postgres": "postgresql+psycopg", "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql", "mariadb": "mariadb+pymysql",
}  # fmt: skip
FLAGS = {"1": True, "true": True, "yes": True, "on": True,
         "0": False, "false": False, "no": False, "off": False}  # fmt: skip
HOST = r"https?://([\w.-]+|\[[0-9a-f:.]+\])(:[0-9]+)?(/[^?]*)?"


class DemoSettingsError(ValueError):
    """A ``DEMO_*`` variable has a value that is not allowed; the message names it."""


@dataclass(frozen=True)
class Settings:
    """The settings, one per variable of docs/demo.md: ``secret`` is ``DEMO_SECRET``."""

    data: Path
    database: URL
    development: bool = False
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
        """Read the settings from a mapping such as ``os.environ``.

        Raises:
            DemoSettingsError: a value is not allowed.
        """
        texts = {name: environ.get(f"DEMO_{name.upper()}", "") for name in RULES}
        values = {name: _parse(name, text) for name, text in texts.items() if text}
        data = values.setdefault("data", _default_directory(environ))
        values.setdefault("database", URL.create("sqlite", database=str(data / "demo.sqlite3")))
        return cls(**values)


def _parse(name: str, text: str) -> Any:
    parse, allowed = RULES[name]
    try:
        return parse(text)
    except (ArgumentError, LookupError, ValueError):
        shown = "its value" if name in ("database", "secret") else repr(text)
        raise DemoSettingsError(f"DEMO_{name.upper()}: {shown} is not {allowed}") from None


def _default_directory(environ: Mapping[str, str]) -> Path:
    cache = environ.get("XDG_CACHE_HOME") or os.path.join(environ.get("HOME", ""), ".cache")
    base = os.path.dirname(cache)
    if os.path.isabs(cache) and os.access(cache if os.path.isdir(cache) else base, os.W_OK):
        return Path(cache, DIRECTORY)
    return Path(tempfile.gettempdir(), f"{DIRECTORY}-{os.geteuid()}")


def _directory(text: str) -> Path:
    """Return a directory, which the first request makes if it does not exist."""
    path = Path(text)
    if not next(each for each in (path, *path.absolute().parents) if each.exists()).is_dir():
        raise ValueError
    return path


def _file(text: str) -> str:
    if not os.path.isfile(text):
        raise ValueError
    return text


def _database(text: str) -> URL:
    url = make_url(text)
    url = url.set(drivername=DRIVERS.get(url.drivername, url.drivername))
    url.get_dialect()
    return url


def _matching(pattern: str, convert: Callable[[str], Any] = str) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        if not re.fullmatch(pattern, text, re.ASCII):
            raise ValueError
        return convert(text)

    return parse


_FLAG = (lambda text: FLAGS[text.lower()], "1 or 0")
_COUNT = (_matching(r"0*[1-9][0-9]{0,8}", int), "a positive number")
_SECONDS = (
    _matching(r"(?=.*[1-9])[0-9]{1,4}(\.[0-9]{1,6})?", float),
    "a number of seconds above 0",
)
_HOST = (_matching(HOST, lambda text: text.rstrip("/")), "an http or https URL")
RULES: dict[str, tuple[Callable[[str], Any], str]] = {
    "data": (_directory, "a directory"),
    "database": (_database, "the URL of a known database"),
    "development": _FLAG,
    "secret": (_matching(r"(?s:.{16,})"), "a text of 16 characters or more"),
    "memcached": (
        _matching(r"(/|unix:).+|.+:[1-9][0-9]{0,4}"), "host:port or the path of a socket"
    ),
    "memcached_timeout": _SECONDS,
    "gravatar": _FLAG,
    "gravatar_url": _HOST,
    "gravatar_ca": (_file, "a file"),
    "bluesky_url": _HOST,
    "outside_timeout": _SECONDS,
    "max_upload": _COUNT,
    "max_pixels": _COUNT,
    "max_photos": _COUNT,
}  # fmt: skip
"""The parser and the allowed values of each variable."""
