"""The log export of one worker, put together: handler, queue, exporter.

logs = LogPipeline(settings, resource, guard, count)
logs.attach()                      # when the application has configured its logging
logs.stop(deadline)
"""

from __future__ import annotations

from opentelemetry.sdk.resources import Resource

from avatar_telemetry.client.privacy import Privacy
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.guard import Guard
from avatar_telemetry.log_records.export import ExportHandler, Translator
from avatar_telemetry.log_records.senders import make_log_sender
from avatar_telemetry.otel_private import ReadableLogRecord
from avatar_telemetry.tracing.queue import Count, ExportQueue
from avatar_telemetry.wsgi.request import sent_by_client

# Nothing in a log record is hashed.
_UNUSED_KEY = b"unused"


class LogQueue(ExportQueue[ReadableLogRecord]):
    """The queue of log records."""

    thread_name = "avatar-telemetry-logs"


class LogPipeline:
    """Everything between a log record and the collector.

    Make it in the worker, after the fork.

    Args:
        settings: of logs.
        resource: what the records are of.
        guard: told of failures of ours.
        count: told what became of records.
    """

    def __init__(self, settings: Settings, resource: Resource, guard: Guard, count: Count) -> None:
        self._queue = LogQueue(
            [make_log_sender(settings)],
            batch_size=settings.log_batch_size,
            queue_size=settings.log_queue_size,
            delay=settings.log_schedule_delay / 1000,
            count=count,
            guard=guard,
        )
        privacy = Privacy(settings.privacy, _UNUSED_KEY, sent=sent_by_client)
        self._translator = Translator(privacy, resource)
        self._handler = ExportHandler(self._translator, self._queue.put, guard)

    def attach(self) -> None:
        """Take records from now on. Not before the application has configured its logging:
        ``basicConfig`` does nothing where the root logger has a handler."""
        self._handler.attach()

    def begin_stop(self) -> None:
        """Take no more records and send what is there; does not wait."""
        self._handler.detach()
        self._queue.begin_stop()

    def stop(self, deadline: float) -> None:
        """Send what is there; returns by a time of ``time.monotonic()``."""
        self._queue.stop(deadline)

    def renew(self) -> None:
        """In a forked child: the records that wait, and the thread, are the parent's."""
        self._translator.renew()
        self._queue.renew()
