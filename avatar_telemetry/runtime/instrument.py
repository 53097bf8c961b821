"""``instrument()``: the call that wraps an application."""

from __future__ import annotations

import os
from functools import partial
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from avatar_telemetry.config.settings import Settings, sdk_disabled
from avatar_telemetry.profiles.model import Profile
from avatar_telemetry.runtime.lifecycle import RUNTIME
from avatar_telemetry.runtime.states import Disabled
from avatar_telemetry.wsgi.middleware import TelemetryMiddleware

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


def instrument(
    application: WSGIApplication,
    *,
    settings: Settings | None = None,
    profile: Profile | None = None,
) -> WSGIApplication:
    """Wrap a WSGI application so that its requests are recorded.

    Args:
        application: the WSGI application (PEP 3333). If it is wrapped already, it is returned
            unchanged.
        settings: the settings of requests and of the metrics page; default: from the environment,
            which always has the settings of the process (runtime directory, separate port).
        profile: the profile of the application; default: ``AVATAR_TELEMETRY_PROFILE``.

    Returns:
        A WSGI application; with ``OTEL_SDK_DISABLED=true`` the given one.

    Raises:
        TypeError: the application is not a WSGI application, or another argument has a wrong type.
        SettingsError: the environment cannot be used. Under gunicorn, its master reports this.
    """
    _check(application, settings, profile)
    disabled = settings.sdk_disabled if settings else sdk_disabled(os.environ)
    disabled = disabled or isinstance(RUNTIME.state, Disabled)
    if disabled or isinstance(application, TelemetryMiddleware):
        return application
    if settings is None:
        RUNTIME.check()
    RUNTIME.declare(profile)
    return TelemetryMiddleware(application, partial(RUNTIME.layer, settings, profile))


def _check(application: Any, settings: Any, profile: Any) -> None:
    """Refuse arguments with which every request would fail."""
    if not callable(application):
        raise TypeError(
            f"instrument() takes a WSGI application, a callable, not {_shown(application)}"
        )
    if iscoroutinefunction(application) or iscoroutinefunction(type(application).__call__):
        raise TypeError(
            f"instrument() takes a WSGI application; {_shown(application)} is an ASGI application"
        )
    for name, value, kind in (("settings", settings, Settings), ("profile", profile, Profile)):
        if value is not None and not isinstance(value, kind):
            raise TypeError(f"instrument({name}=) takes a {kind.__name__}, not {_shown(value)}")


def _shown(value: object) -> str:
    return f"{repr(value)[:100]} of type {type(value).__name__}"
