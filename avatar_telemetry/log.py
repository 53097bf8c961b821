"""The logger of the package, and the seed document's name for it.

What goes wrong is told by :data:`LOGGER`. What is configured, sampled, exported and dropped is told
at level DEBUG, by it or by ``ivatar.opentelemetry``, whichever an operator has turned on.
"""

from __future__ import annotations

import logging

LOGGER = logging.getLogger("avatar_telemetry")
ALIAS = logging.getLogger("ivatar.opentelemetry")


def debugging() -> bool:
    """Whether anybody wants to know."""
    return LOGGER.isEnabledFor(logging.DEBUG) or ALIAS.isEnabledFor(logging.DEBUG)


def debug(message: str, *args: object) -> None:
    """Tell what happens. No secret belongs here, and nothing of a client.

    Args:
        message: with ``%`` places for the arguments.
        args: of it.
    """
    logger = LOGGER if LOGGER.isEnabledFor(logging.DEBUG) else ALIAS
    logger.debug(message, *args, stacklevel=2)
