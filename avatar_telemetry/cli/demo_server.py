"""gunicorn's configuration of ``avatar-telemetry demo``, and the application that it serves."""

from __future__ import annotations

import os
from pkgutil import resolve_name

from avatar_telemetry import Settings, SettingsError, instrument
from avatar_telemetry.cli.environment import is_demo
from avatar_telemetry.config.settings import DEFAULT_APP
from avatar_telemetry.gunicorn import (  # noqa: F401 - gunicorn finds the hooks by their names
    child_exit,
    on_exit,
    on_starting,
    post_fork,
    worker_exit,
)
from avatar_telemetry.profiles.demo import PROFILE

wsgi_app = f"{__name__}:make()"
# All servers of a user would share one control socket, and a second take it from the first.
control_socket_disable = True


def make() -> object:
    """The demo, wrapped. gunicorn calls it in each worker."""
    try:
        settings = Settings.from_env(os.environ)
    except SettingsError as error:
        raise SystemExit(str(error)) from None
    return instrument(resolve_name(DEFAULT_APP), profile=PROFILE if is_demo(settings) else None)
