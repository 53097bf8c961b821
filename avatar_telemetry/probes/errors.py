"""Probe of the exceptions that an application turns into an error page: the cause of a 500.

Django turns an exception into a response and logs it: outside of it only the log record has it.
The record is read in ``Logger.handle``: no logger, handler, filter or format changes,
``logging.config.dictConfig`` cannot remove the probe, and no logger is made before the application
makes it (``disable_existing_loggers`` disables a logger that exists too early). A disabled logger
makes no record; Django's exceptions are also reported by its signal.
"""

from __future__ import annotations

import logging
import sys
from types import ModuleType
from typing import Any

from avatar_telemetry.probes.patching import Call, surround, when_imported
from avatar_telemetry.profiles.model import Profile
from avatar_telemetry.wsgi.request import CURRENT

DJANGO = "django.request"
UID = "avatar_telemetry._base.errors"

_LOGGERS = {DJANGO}


def install(profile: Profile) -> None:
    """Observe Django's logger and signal, and the loggers that the profile names.

    Args:
        profile: the profile; a logger of its ``error_loggers`` includes those below it.
    """
    _LOGGERS.update(profile.error_loggers)
    surround(logging, "Logger.handle", _around_handle)
    when_imported("django.core.signals", _listen)


def _around_handle(original: Call) -> Call:
    def handle(self: logging.Logger, record: logging.LogRecord) -> Any:
        if record.exc_info and record.levelno >= logging.ERROR and _is_observed(record.name):
            _report(record.exc_info[1])
        return original(self, record)

    return handle


def _is_observed(name: str) -> bool:
    while name:
        if name in _LOGGERS:
            return True
        name = name.rpartition(".")[0]
    return False


def _listen(module: ModuleType) -> None:
    module.got_request_exception.connect(_on_exception, dispatch_uid=UID)


def _on_exception(sender: object, **more: object) -> None:
    _report(sys.exc_info()[1])


def _report(error: BaseException | None) -> None:
    request = CURRENT.get()
    if request is not None and error is not None:
        request.application_error(error)
