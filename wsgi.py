"""The WSGI entry point: wraps what ``AVATAR_TELEMETRY_APP`` names, by default the demo server."""

import os
import signal
import sys
import traceback
from pkgutil import resolve_name
from typing import NoReturn

from avatar_telemetry import SettingsError, instrument
from avatar_telemetry.config import parsing
from avatar_telemetry.config.settings_table import DEFAULT_APP, DEFAULT_PROFILE
from avatar_telemetry.runtime import RUNTIME
from avatar_telemetry.startup import app_fault, load_app

# gunicorn ends at once where a worker exits with this, instead of starting it again and again.
BOOT_ERROR = 3
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
MAX_WAIT = 1.0
"""Seconds; a signal that came during the import is not waited for longer."""

# Not all the settings: gunicorn's master checks them, and goes on with those of its start where a
# reload brings bad ones. An application that cannot be imported ends the server, as everywhere.
app = os.environ.get("AVATAR_TELEMETRY_APP") or DEFAULT_APP
is_demo = app == DEFAULT_APP
has_profile = (os.environ.get("AVATAR_TELEMETRY_PROFILE") or DEFAULT_PROFILE) != DEFAULT_PROFILE


def end(message: str, error: BaseException | None = None) -> NoReturn:
    """End this process.

    The first of a server's workers reports why. The others wait to be ended: gunicorn's master logs
    a traceback of its own where a second one fails.

    Args:
        message: for the operator.
        error: one of the application's own, printed with its traceback.
    """
    if not RUNTIME.is_first("boot-failure"):
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        signal.sigtimedwait(ENDING, MAX_WAIT)
        raise SystemExit(0)
    if error is not None:
        traceback.print_exception(error)
    print(message, file=sys.stderr)
    raise SystemExit(BOOT_ERROR)


def check_demo() -> None:
    """Check the ``DEMO_*`` variables, which the demo itself reads with its first request.

    Raises:
        SettingsError: a value is not allowed.
    """
    from_environ = resolve_name("avatar_demo.settings:Settings.from_environ")
    try:
        from_environ(os.environ)
    except ValueError as error:
        raise SettingsError(str(error), what="the demo cannot be served") from error


try:
    if is_demo:
        check_demo()
    try:
        parsing.application(app)
    except ValueError:
        fault = app_fault(app, "allowed is module:NAME or module:factory()")
        raise SettingsError(fault) from None
    wrapped = load_app(app)
    demo_profile = resolve_name("avatar_demo.profile:PROFILE") if is_demo else None
    application = instrument(wrapped, profile=None if has_profile else demo_profile)
except SettingsError as error:
    end(str(error))
except Exception as error:  # noqa: BLE001 - whatever the application's import raises
    named = app.partition("(")[0].replace(":", ".").split(".")
    missing = getattr(error, "name", None) in named
    fault = str(error) if missing else f"{type(error).__name__}: {error}"
    end(f"avatar_telemetry: {app_fault(app, fault)}", None if missing else error)
