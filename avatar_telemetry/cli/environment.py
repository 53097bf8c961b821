"""The server of this environment: its profile, its modules, and its runtime directory."""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from importlib.util import find_spec
from pathlib import Path

import click
from prometheus_client import values

from avatar_telemetry.config.settings import DEFAULT_APP, DEFAULT_PROFILE, Settings
from avatar_telemetry.metrics.folder import served_dirs
from avatar_telemetry.profiles.model import Profile
from avatar_telemetry.runtime.startup import load_profile


def find_modules() -> None:
    """Allow imports from the working directory, as gunicorn does, and keep the modules' metrics in
    this process: the runtime directory in the environment is that of a running server."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    values.ValueClass = values.MutexValue


def load_chosen_profile(settings: Settings) -> Profile:
    """Load the profile of the settings; what its module prints goes to the standard error.

    Raises:
        SettingsError: the profile does not exist.
    """
    find_modules()
    with redirect_stdout(sys.stderr):
        return load_profile(settings.profile)


def is_demo(settings: Settings) -> bool:
    """Return whether the repository's ``wsgi.py`` serves the demo with the demo's own profile."""
    is_default = (settings.app, settings.profile) == (DEFAULT_APP, DEFAULT_PROFILE)
    return is_default and find_spec("avatar_demo") is not None


def find_directory(settings: Settings) -> Path:
    """Return the runtime directory of the settings, or that of the only running server.

    Raises:
        click.UsageError: no server of this user runs, or several.
    """
    if settings.multiproc_dir:
        return Path(settings.multiproc_dir)
    found = list(served_dirs())
    if len(found) == 1:
        return found[0]
    if found:
        raise click.UsageError(
            f"several servers run; name the DIRECTORY of one: {' '.join(map(str, found))}"
        )
    # sudo removes PROMETHEUS_MULTIPROC_DIR from the environment.
    user = "" if os.geteuid() == 0 else ", or run this as its user (sudo -u)"
    raise click.UsageError(
        f"no server with a private directory of this user runs; name its DIRECTORY{user}"
    )
