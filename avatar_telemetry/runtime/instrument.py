"""``instrument()``: the one call that an operator writes."""

from __future__ import annotations

import os
from functools import partial
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from avatar_telemetry.config.settings import Settings, sdk_disabled
from avatar_telemetry.profiles.model import Profile
from avatar_telemetry.runtime.lifecycle import RUNTIME
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
        application: any WSGI application (PEP 3333). One that is wrapped already is returned as
            it is.
        settings: instead of those of the environment, for what concerns a request and the metrics
            page. What concerns the process (runtime folder, separate port) is the environment's.
        profile: what is known about the application; else ``AVATAR_TELEMETRY_PROFILE``.

    Returns:
        A WSGI application; with ``OTEL_SDK_DISABLED=true`` the given one.

    Raises:
        TypeError: the application is none of WSGI, or an argument is of another type.
        SettingsError: the environment cannot be used (under gunicorn its master has said so).
    """
    _check(application, settings, profile)
    disabled = settings.sdk_disabled if settings else sdk_disabled(os.environ)
    if disabled or RUNTIME.off or isinstance(application, TelemetryMiddleware):
        return application
    if settings is None:
        RUNTIME.check()
    RUNTIME.declare(profile)
    return TelemetryMiddleware(application, partial(RUNTIME.layer, settings, profile))


def _check(application: Any, settings: Any, profile: Any) -> None:
    """Refuse at once what would fail at every request."""
    if not callable(application):
        raise TypeError(
            f"instrument() takes a WSGI application, which is a callable, not {_shown(application)}"
        )
    if iscoroutinefunction(application) or iscoroutinefunction(type(application).__call__):
        raise TypeError(
            f"instrument() takes a WSGI application; {_shown(application)} is one of ASGI"
        )
    for name, value, kind in (("settings", settings, Settings), ("profile", profile, Profile)):
        if value is not None and not isinstance(value, kind):
            raise TypeError(f"instrument({name}=) takes a {kind.__name__}, not {_shown(value)}")


def _shown(value: object) -> str:
    return f"{repr(value)[:100]} of type {type(value).__name__}"
