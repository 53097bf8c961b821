"""The WSGI entry point: wraps what ``AVATAR_TELEMETRY_APP`` names, by default the demo server."""

import os

from avatar_telemetry.config.settings import DEFAULT_APP
from avatar_telemetry.runtime.entry_point import wrap_app

app = os.environ.get("AVATAR_TELEMETRY_APP") or DEFAULT_APP
if app == DEFAULT_APP:
    application = wrap_app(
        app,
        profile="avatar_demo.profile:PROFILE",
        check="avatar_demo.settings:Settings.from_environ",
    )
else:
    application = wrap_app(app)
