"""The log export of one worker, put together.

logs = LogPipeline(settings, put, guard)
logs.attach()                      # when the application has configured its logging
logs.detach()
"""

from __future__ import annotations

from collections.abc import Callable

from avatar_telemetry._base.guard import Guard
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.http.privacy import Privacy
from avatar_telemetry.logs.export import Encoder, ExportHandler
from avatar_telemetry.wsgi.request import sent_by_client

# Nothing in a log record is hashed.
_UNUSED_KEY = b"unused"


class LogPipeline:
    """Everything between a log record and the ring. Make it in the worker, after the fork.

    Args:
        settings: of logs.
        put: writes the payload of a frame into the ring.
        guard: counts failures of ours.
    """

    def __init__(self, settings: Settings, put: Callable[[bytes], bool], guard: Guard) -> None:
        privacy = Privacy(settings.privacy, _UNUSED_KEY, sent=sent_by_client)
        self._handler = ExportHandler(Encoder(privacy).encode, put, guard)

    def attach(self) -> None:
        """Take records from now on. Call it after the application has configured its logging:
        ``basicConfig`` does nothing where the root logger has a handler."""
        self._handler.attach()

    def detach(self) -> None:
        """Take no more records."""
        self._handler.detach()
