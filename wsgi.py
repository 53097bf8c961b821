"""The WSGI entry point: wraps what ``AVATAR_TELEMETRY_APP`` names, by default the demo server."""

import os
import sys
from pkgutil import resolve_name

from avatar_telemetry import Settings, SettingsError, instrument
from avatar_telemetry.config.settings_table import DEFAULT_APP, DEFAULT_PROFILE
from avatar_telemetry.profiles.demo import PROFILE as DEMO_PROFILE
from avatar_telemetry.startup import check_demo

# gunicorn ends at once where a worker exits with this, instead of starting it again and again.
BOOT_ERROR = 3

try:
    settings = Settings.from_env(os.environ)
except SettingsError as error:
    raise SystemExit(str(error)) from None  # preload_app imports this before gunicorn's hooks run

try:
    if settings.app == DEFAULT_APP:
        check_demo(os.environ)
    wrapped = resolve_name(settings.app)
except SettingsError as error:
    print(error, file=sys.stderr)
    raise SystemExit(BOOT_ERROR) from None
except (ImportError, AttributeError) as error:
    if getattr(error, "name", None) not in settings.app.replace(":", ".").split("."):
        raise  # the application's own import fails: its traceback says where
    print(f"avatar_telemetry: AVATAR_TELEMETRY_APP={settings.app!r}: {error}", file=sys.stderr)
    raise SystemExit(BOOT_ERROR) from None

is_demo = (settings.app, settings.profile) == (DEFAULT_APP, DEFAULT_PROFILE)
application = instrument(wrapped, profile=DEMO_PROFILE if is_demo else None)
