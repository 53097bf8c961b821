"""The data folder, and the secret that all workers of it share."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from sqlalchemy.engine import URL

from avatar_telemetry.demo.settings import DemoSettingsError, Settings

SECRET_FILE = "secret"  # noqa: S105 - a file's name


def prepare_folder(folder: Path) -> None:
    """Make the data folder, readable for us only.

    Raises:
        DemoSettingsError: it is somebody else's, or cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = folder.lstat().st_uid
    except OSError as error:
        raise DemoSettingsError(f"DEMO_DATA: {error}") from error
    # A folder in a world-writable place may have been put there to read our secret.
    if owner != os.geteuid() or not os.access(folder, os.W_OK):
        raise DemoSettingsError(f"DEMO_DATA: {str(folder)!r} is not a folder of ours")


def prepare_database_file(url: URL) -> None:
    """Make an SQLite file readable for us only, before SQLite makes it for everybody."""
    if url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:"):
        os.close(os.open(str(url.database), os.O_RDWR | os.O_CREAT, 0o600))


def load_secret(settings: Settings) -> bytes:
    """The secret of all workers: the configured one, else one kept in the data folder."""
    if settings.secret:
        return settings.secret.encode()
    path = settings.data / SECRET_FILE
    if not path.exists():
        _keep_new_secret(path)
    secret = path.read_bytes().strip()
    if len(secret) < 32:
        raise DemoSettingsError(f"DEMO_DATA: {str(path)!r} holds no secret; remove it")
    return secret


def _keep_new_secret(path: Path) -> None:
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))
        # A link, unlike a rename, keeps the secret of the worker that was first.
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()
