"""The WSGI entry point: wraps what ``AVATAR_TELEMETRY_APP`` names, by default the demo server."""

import os
import sys

from avatar_telemetry import SettingsError, instrument
from avatar_telemetry.config import parsing
from avatar_telemetry.config.settings_table import DEFAULT_APP, DEFAULT_PROFILE
from avatar_telemetry.profiles.demo import PROFILE as DEMO_PROFILE
from avatar_telemetry.startup import app_fault, check_demo, load_app

# gunicorn ends at once where a worker exits with this, instead of starting it again and again.
BOOT_ERROR = 3

# Not all the settings: gunicorn's master checks them, and goes on with those of its start where a
# reload brings bad ones. An application that cannot be imported ends the server, as everywhere.
app = os.environ.get("AVATAR_TELEMETRY_APP") or DEFAULT_APP
profile = os.environ.get("AVATAR_TELEMETRY_PROFILE") or DEFAULT_PROFILE
is_demo = (app, profile) == (DEFAULT_APP, DEFAULT_PROFILE)

try:
    if app == DEFAULT_APP:
        check_demo(os.environ)
    try:
        parsing.application(app)
    except ValueError:
        fault = app_fault(app, "allowed is module:NAME or module:factory()")
        raise SettingsError(fault) from None
    wrapped = load_app(app)
    application = instrument(wrapped, profile=DEMO_PROFILE if is_demo else None)
except SettingsError as error:
    print(error, file=sys.stderr)
    raise SystemExit(BOOT_ERROR) from None
except (ImportError, AttributeError) as error:
    if getattr(error, "name", None) not in app.partition("(")[0].replace(":", ".").split("."):
        raise  # the application's own import fails: its traceback says where
    print(f"avatar_telemetry: AVATAR_TELEMETRY_APP={app!r}: {error}", file=sys.stderr)
    raise SystemExit(BOOT_ERROR) from None
