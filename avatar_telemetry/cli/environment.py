"""The profile of the server, and the modules that it imports."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

from prometheus_client import values

from avatar_telemetry.config.settings import DEFAULT_APP, DEFAULT_PROFILE, Settings
from avatar_telemetry.profiles.model import Profile
from avatar_telemetry.runtime.startup import load_profile


def find_modules() -> None:
    """Allow imports from the working directory, as gunicorn does, and keep the modules' metrics in
    this process: the runtime directory in the environment is that of a running server."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    values.ValueClass = values.MutexValue


def load_chosen_profile(settings: Settings) -> Profile:
    """Load the profile of the settings.

    Raises:
        SettingsError: the profile does not exist.
    """
    find_modules()
    return load_profile(settings.profile)


def is_demo(settings: Settings) -> bool:
    """Return whether the repository's ``wsgi.py`` serves the demo with the demo's own profile."""
    is_default = (settings.app, settings.profile) == (DEFAULT_APP, DEFAULT_PROFILE)
    return is_default and find_spec("avatar_demo") is not None
