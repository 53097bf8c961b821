"""The Django project of the tests under a gunicorn, bare or wrapped."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.support.gunicorn_server import APPS, GunicornServer, Serve
from tests.support.paths import REPOSITORY

PROJECT = REPOSITORY / "tests" / "support" / "django_app"
PATHS = (REPOSITORY, PROJECT, PROJECT / "stand_ins", APPS)


class DjangoSite:
    """One set of data, which several servers may use one after the other.

    Args:
        serve: starts servers.
        folder: for the data and the servers.
        environ: more variables of the project.
    """

    def __init__(self, serve: Serve, folder: Path, **environ: str) -> None:
        self._serve = serve
        self._folder = folder
        self.environ: dict[str, str | None] = {
            "DJANGO_SETTINGS_MODULE": "portraits.settings",
            "PORTRAITS_DATA": str(folder / "data"),
            **environ,
        }

    def bare(self, **options: Any) -> GunicornServer:
        """The project as it is."""
        return self._start("portraits.wsgi:application", "bare", hooks="", **options)

    def wrapped(self, profile: str = "portraits_profile:PROFILE", **options: Any) -> GunicornServer:
        """The project inside the repository's own ``wsgi.py``."""
        self.environ |= {
            "AVATAR_TELEMETRY_APP": "portraits.wsgi:application",
            "AVATAR_TELEMETRY_PROFILE": profile,
        }
        return self._start("wsgi:application", "wrapped", **options)

    def _start(self, application: str, name: str, **options: Any) -> GunicornServer:
        self._make_tables()
        return self._serve(
            application, name=name, env=self.environ, pythonpath=",".join(map(str, PATHS)),
            **{"workers": 4, **options},
        )  # fmt: skip

    def _make_tables(self) -> None:
        data = self._folder / "data"
        data.mkdir(exist_ok=True)
        if "PORTRAITS_DATABASE" in self.environ:
            _migrate(self.environ)
        elif not (data / "db.sqlite3").exists():
            (data / "db.sqlite3").write_bytes(_empty_database())


@cache
def _empty_database() -> bytes:
    """The project's tables in a file of SQLite; making them takes longer than copying them."""
    with TemporaryDirectory() as folder:
        settings = {"DJANGO_SETTINGS_MODULE": "portraits.settings", "PORTRAITS_DATA": folder}
        _migrate(settings)
        return Path(folder, "db.sqlite3").read_bytes()


def _migrate(settings: Mapping[str, str | None]) -> None:
    environ = {**os.environ, **{key: value for key, value in settings.items() if value}}
    subprocess.run(
        [sys.executable, "-m", "django", "migrate", "-v0"],
        check=True,
        env={**environ, "PYTHONPATH": os.pathsep.join(map(str, PATHS))},
    )
