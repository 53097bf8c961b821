"""The WSGI entry point: wraps what ``AVATAR_TELEMETRY_APP`` names, by default the demo server."""

import os

from avatar_telemetry.config.settings import DEFAULT_APP
from avatar_telemetry.entry_point import wrap_app

application = wrap_app(os.environ.get("AVATAR_TELEMETRY_APP") or DEFAULT_APP)
