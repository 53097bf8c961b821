"""The demo under gunicorn, beside a memcached and a stand-in for Gravatar."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.support.gunicorn_server import GunicornServer, Serve
from tests.support.paths import APPS, REPOSITORY

PATIENCE = "300"
"""Seconds the demo waits for what it asks. On a busy machine a worker that draws, or does not get
its turn, misses an answer that is there: a look-up that failed, where the tally foretells a hit."""


def demo(
    serve: Serve,
    tmp_path: Path,
    memcached: str,
    outside: str,
    env: Mapping[str, str] | None = None,
    **options: object,
) -> GunicornServer:
    """The demo server with four workers, wrapped by the repository's ``wsgi.py``."""
    return serve(
        "wsgi:application",
        workers=4,
        pythonpath=f"{REPOSITORY},{APPS}",
        env={
            "AVATAR_TELEMETRY_PROFILE": "demo_profile:PROFILE",
            "DEMO_DATA": str(tmp_path / "data"),
            "DEMO_MEMCACHED": memcached,
            "DEMO_MEMCACHED_TIMEOUT": PATIENCE,
            "DEMO_OUTSIDE_TIMEOUT": PATIENCE,
            "DEMO_GRAVATAR_URL": outside,
            "DEMO_MAX_PHOTOS": "100000",
            **(env or {}),
        },
        **options,
    )
