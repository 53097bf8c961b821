"""The loggers of the package, its documented alias, and the logger of OpenTelemetry.

:data:`LOGGER` reports errors and warnings, :data:`REQUESTS` those about requests of the
application, which are exported, too. Configuration, sampling, exports and drops are logged at
level DEBUG, with the first of the three loggers that has it enabled.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

LOGGER = logging.getLogger("avatar_telemetry")
REQUESTS = LOGGER.getChild("requests")
ALIAS = logging.getLogger("ivatar.opentelemetry")
OPENTELEMETRY = logging.getLogger("opentelemetry")


def debugging() -> bool:
    """Return whether DEBUG is enabled on any of the loggers."""
    return any(logger.isEnabledFor(logging.DEBUG) for logger in (LOGGER, ALIAS, OPENTELEMETRY))


def debug(message: str, *args: object) -> None:
    """Log at level DEBUG. Neither secrets nor client data may be logged.

    Args:
        message: the message, with a ``%`` format for each argument.
        args: the arguments of the message.
    """
    for logger in (LOGGER, ALIAS, OPENTELEMETRY):
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug(message, *args, stacklevel=2)
            return


class _Forward(logging.Handler):
    """Pass each record to another logger, if its level is enabled there."""

    def __init__(self, target: logging.Logger) -> None:
        super().__init__()
        self._target = target

    def emit(self, record: logging.LogRecord) -> None:
        if self._target.isEnabledFor(record.levelno):
            self._target.handle(record)


@contextmanager
def logging_to(target: logging.Logger) -> Iterator[None]:
    """Pass records of level INFO and above to a server's log, unless logging is configured: by
    default Python drops INFO, and writes warnings to a standard error that may be discarded."""
    if LOGGER.hasHandlers():
        yield
        return
    handler, level = _Forward(target), LOGGER.level
    LOGGER.addHandler(handler)
    if level == logging.NOTSET:
        LOGGER.setLevel(logging.INFO)
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(level)
