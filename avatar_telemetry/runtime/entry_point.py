"""The WSGI entry point of an application that a variable names."""

from __future__ import annotations

import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING, Any, NoReturn

from avatar_telemetry._base.errors import SettingsError
from avatar_telemetry.config import parsing
from avatar_telemetry.config.settings import DEFAULT_PROFILE
from avatar_telemetry.runtime.instrument import instrument
from avatar_telemetry.runtime.lifecycle import RUNTIME
from avatar_telemetry.runtime.startup import app_fault, load_app

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

# If a worker exits with this status, gunicorn ends at once instead of restarting it in a loop.
BOOT_ERROR = 3
TERMINATION_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
MAX_WAIT = 1.0
"""Seconds to wait for a signal, which may have been handled during the import."""
ALLOWED = "must be module:NAME or module:factory()"


def wrap_app(reference: str, *, profile: str = "", check: str = "") -> WSGIApplication:
    """Import an application and wrap it.

    Other settings are not checked: gunicorn's master does that at its start, and keeps its settings
    if a reload has invalid ones. If the application cannot be imported, the server ends.

    Args:
        reference: ``module:NAME`` or ``module:factory()`` with literal arguments.
        profile: ``module:NAME`` of the profile, unless ``AVATAR_TELEMETRY_PROFILE`` is set.
        check: ``module:NAME`` of a function of the environment that raises ``ValueError`` if the
            application cannot be served with it.

    Raises:
        SystemExit: the application cannot be served; the reason is on the standard error.
    """
    named = os.environ.get("AVATAR_TELEMETRY_PROFILE") or DEFAULT_PROFILE
    try:
        _check(reference)
        if check:
            _import(reference, check)(os.environ)
        application = _import(reference, reference)
        own = _import(reference, profile) if profile and named == DEFAULT_PROFILE else None
        return instrument(application, profile=own)
    except SettingsError as error:
        _end(str(error))
    except ValueError as error:  # from the check
        _end(str(SettingsError(str(error), what=f"{reference} cannot be served")))
    except TypeError as error:  # from instrument(): not a WSGI application
        _end(f"avatar_telemetry: {app_fault(reference, str(error))}")


def _check(reference: str) -> None:
    """Check the syntax of the reference.

    Raises:
        SettingsError: the reference is invalid.
    """
    if not reference:
        raise SettingsError(f"AVATAR_TELEMETRY_APP is not set: {ALLOWED} of a WSGI application")
    try:
        parsing.application(reference)
    except ValueError:
        raise SettingsError(app_fault(reference, ALLOWED)) from None


def _import(reference: str, name: str) -> Any:
    """Import the object of a name.

    If that raises, end the process with the application's traceback, or without a traceback if the
    named module or attribute is missing.
    """
    try:
        return load_app(name)
    except Exception as error:  # noqa: BLE001 - the import may raise any exception
        named = name.partition("(")[0].replace(":", ".").split(".")
        missing = getattr(error, "name", None) in named
        fault = str(error) if missing else f"{type(error).__name__}: {error}"
        _end(f"avatar_telemetry: {app_fault(reference, fault)}", None if missing else error)


def _end(message: str, error: BaseException | None = None) -> NoReturn:
    """End this process.

    The first worker of a server reports the reason. The others wait for a termination signal,
    because gunicorn's master logs a traceback of its own if a second worker fails.

    Args:
        message: the message for the operator.
        error: the exception of the application, printed with its traceback.
    """
    if not RUNTIME.state.is_first("boot-failure"):
        signal.pthread_sigmask(signal.SIG_BLOCK, TERMINATION_SIGNALS)
        signal.sigtimedwait(TERMINATION_SIGNALS, MAX_WAIT)
        raise SystemExit(0)
    if error is not None:
        traceback.print_exception(error)
    print(message, file=sys.stderr)
    raise SystemExit(BOOT_ERROR)
