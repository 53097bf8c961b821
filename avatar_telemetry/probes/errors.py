"""Probe of the errors that an application answers with a page: what went wrong behind a 500.

Django turns an exception into an answer and logs it, so from outside only its log record tells.
The record is seen on its way to the handlers, in ``Logger.handle``: no logger, handler, filter or
format changes, ``logging.config.dictConfig`` cannot remove it, and no logger is made before the
application makes it (one that exists too early is what ``disable_existing_loggers`` turns off).
A logger that is off makes no record; of Django's exceptions its signal tells as well.
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
    """Watch Django's logger and signal, and the loggers that the profile names.

    Args:
        profile: a logger of its ``error_loggers`` stands for those below it, too.
    """
    _LOGGERS.update(profile.error_loggers)
    surround(logging, "Logger.handle", _around_handle)
    when_imported("django.core.signals", _listen)


def _around_handle(original: Call) -> Call:
    def handle(self: logging.Logger, record: logging.LogRecord) -> Any:
        if record.exc_info and record.levelno >= logging.ERROR and _is_watched(record.name):
            _tell(record.exc_info[1])
        return original(self, record)

    return handle


def _is_watched(name: str) -> bool:
    while name:
        if name in _LOGGERS:
            return True
        name = name.rpartition(".")[0]
    return False


def _listen(module: ModuleType) -> None:
    module.got_request_exception.connect(_on_exception, dispatch_uid=UID)


def _on_exception(sender: object, **more: object) -> None:
    _tell(sys.exc_info()[1])


def _tell(error: BaseException | None) -> None:
    request = CURRENT.get()
    if request is not None and error is not None:
        request.application_error(error)
