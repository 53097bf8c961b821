"""The log export of one worker.

logs = LogPipeline(settings, put, guard)
logs.attach()                      # after the application has configured its logging
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
    """The components between log records and the ring. Create it in the worker, after the fork.

    Args:
        settings: the settings of logs.
        put: a function that writes the payload of a frame into the ring.
        guard: the guard that reports internal failures.
    """

    def __init__(self, settings: Settings, put: Callable[[bytes], bool], guard: Guard) -> None:
        privacy = Privacy(settings.privacy, _UNUSED_KEY, sent=sent_by_client)
        self._handler = ExportHandler(Encoder(privacy).encode, put, guard)

    def attach(self) -> None:
        """Start to export records. Call it after the application has configured its logging:
        ``basicConfig`` does nothing if the root logger has a handler."""
        self._handler.attach()

    def detach(self) -> None:
        """Stop exporting records."""
        self._handler.detach()
