"""The environment as the server has it, and the modules that it imports."""

from __future__ import annotations

import os
import sys

from prometheus_client import values

from avatar_telemetry.config.settings import Settings
from avatar_telemetry.config.settings_table import DEFAULT_APP, DEFAULT_PROFILE
from avatar_telemetry.profile import Profile
from avatar_telemetry.startup import load_profile


def find_modules() -> None:
    """Import from the working directory, as gunicorn does."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())


def keep_metrics_here() -> None:
    """Metrics that the user's modules make stay in this process: the folder that the environment
    may name is that of a running server."""
    values.ValueClass = values.MutexValue


def load_chosen_profile(settings: Settings, named: str = "") -> Profile:
    """The profile that the server has, or one by its name.

    Args:
        settings: of the server.
        named: ``module:NAME``, ``ivatar`` or ``generic``; empty: as the settings say.

    Raises:
        SettingsError: there is no such profile.
    """
    find_modules()
    if named and ":" not in named:
        named = f"avatar_telemetry.profiles.{named}:PROFILE"
    return load_profile(named or settings.profile)


def is_demo(settings: Settings) -> bool:
    """Whether the repository's ``wsgi.py`` would serve the demo with its own profile."""
    return (settings.app, settings.profile) == (DEFAULT_APP, DEFAULT_PROFILE)
