"""The logger of the package, the documented name for it, and OpenTelemetry's.

What goes wrong is told by :data:`LOGGER`. What is configured, sampled, exported and dropped is told
at level DEBUG, by the first of the three that an operator has turned on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

LOGGER = logging.getLogger("avatar_telemetry")
ALIAS = logging.getLogger("ivatar.opentelemetry")
OPENTELEMETRY = logging.getLogger("opentelemetry")


def debugging() -> bool:
    """Whether anybody wants to know."""
    return any(logger.isEnabledFor(logging.DEBUG) for logger in (LOGGER, ALIAS, OPENTELEMETRY))


def debug(message: str, *args: object) -> None:
    """Tell what happens. No secret belongs here, and nothing of a client.

    Args:
        message: with ``%`` places for the arguments.
        args: of it.
    """
    for logger in (LOGGER, ALIAS, OPENTELEMETRY):
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug(message, *args, stacklevel=2)
            return


class _Forward(logging.Handler):
    """Pass each record to another logger, as far as its level admits it."""

    def __init__(self, target: logging.Logger) -> None:
        super().__init__()
        self._target = target

    def emit(self, record: logging.LogRecord) -> None:
        if self._target.isEnabledFor(record.levelno):
            self._target.handle(record)


@contextmanager
def logging_to(target: logging.Logger) -> Iterator[None]:
    """Pass our records of level INFO and above to a server's log, unless logging is configured: by
    default Python writes no INFO, and warnings to a standard error that may be discarded."""
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
