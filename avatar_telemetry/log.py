"""The logger of the package, the seed document's name for it, and OpenTelemetry's.

What goes wrong is told by :data:`LOGGER`. What is configured, sampled, exported and dropped is told
at level DEBUG, by the first of the three that an operator has turned on.
"""

from __future__ import annotations

import logging

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
