"""Log records of a worker on their way to the collector: what is taken of one, and what is told.

The handler stands on the root logger beside those of the application, whose levels, handlers and
formats stay as they are.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from time import time_ns
from types import CodeType, FrameType

from opentelemetry.context import get_current
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from avatar_telemetry.client import scrub
from avatar_telemetry.client.privacy import Privacy
from avatar_telemetry.config.resource import of_child
from avatar_telemetry.guard import Guard
from avatar_telemetry.logs import message_of
from avatar_telemetry.otel_private import LogRecord, ReadableLogRecord, SeverityNumber

LEVEL = logging.WARNING
OUR_THREADS = "avatar-telemetry"
"""How the names of our threads begin: what is logged in one comes of an export."""
_NEVER = ("avatar_telemetry", "opentelemetry", "urllib3", "requests", "grpc")
_NEVER_EITHER = ("ivatar.opentelemetry",)
_SEVERITIES = (
    (logging.CRITICAL, "FATAL", SeverityNumber.FATAL),
    (logging.ERROR, "ERROR", SeverityNumber.ERROR),
    (LEVEL, "WARN", SeverityNumber.WARN),
)


class ExportHandler(logging.Handler):
    """Hands records of level ``WARNING`` and above on, but those that an export may cause.

    Args:
        translator: makes of a record what is exported.
        put: takes it; must not block or raise.
        guard: told of failures of ours.
    """

    def __init__(
        self, translator: Translator, put: Callable[[ReadableLogRecord], None], guard: Guard
    ) -> None:
        super().__init__(LEVEL)
        self._translate = translator.translate
        self._put = put
        self._guard = guard

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record. Never raises."""
        if not _comes_of_export(record):
            try:
                self._put(self._translate(record))
            except Exception:  # noqa: BLE001 - what is logged is the application's
                self._guard.failed("logs")
        self._stand_aside(record)

    def attach(self) -> None:
        """Stand on the root logger, if this is not so already: ``dictConfig`` removes what it did
        not put there. In a forked child the parent's gives way."""
        root = logging.getLogger()
        for other in [each for each in root.handlers if isinstance(each, ExportHandler)]:
            if other is not self:
                root.removeHandler(other)
        root.addHandler(self)  # once, however often it is said

    def detach(self) -> None:
        """Leave the root logger."""
        logging.getLogger().removeHandler(self)

    def _stand_aside(self, record: logging.LogRecord) -> None:
        """Where nobody has configured a handler, Python writes warnings to standard error. It must
        not take us for one."""
        last = logging.lastResort
        if last is not None and record.levelno >= last.level and not any(self._others(record.name)):
            last.handle(record)

    def _others(self, name: str) -> Iterator[logging.Handler]:
        logger: logging.Logger | None = logging.getLogger(name)
        while logger is not None:
            yield from (each for each in logger.handlers if each is not self)
            logger = logger.parent if logger.propagate else None


class Translator:
    """Makes of Python's log records those of OpenTelemetry, with what the privacy mode lets out.

    Args:
        privacy: what may be told.
        resource: what they are of.
    """

    def __init__(self, privacy: Privacy, resource: Resource) -> None:
        self._privacy = privacy
        self._resource = resource

    def renew(self) -> None:
        """In a forked child: the pid is another."""
        self._resource = of_child(self._resource)

    def translate(self, record: logging.LogRecord) -> ReadableLogRecord:
        """The record, with the trace that is current now. What ``extra`` gave is not told."""
        _, text, number = next(
            (each for each in _SEVERITIES if record.levelno >= each[0]), _SEVERITIES[-1]
        )
        error = record.exc_info[1] if record.exc_info else None
        told = LogRecord(
            timestamp=int(record.created * 1e9),
            observed_timestamp=time_ns(),
            context=get_current(),
            severity_text=text,
            severity_number=number,
            body=self._privacy.message(message_of(record), _codes_of(record)),
            attributes={
                "code.file.path": scrub.encodable(record.pathname),
                "code.line.number": record.lineno,
                "code.function.name": scrub.encodable(record.funcName or ""),
                **(self._privacy.describe(error) if error is not None else {}),
            },
        )
        scope = InstrumentationScope(scrub.encodable(record.name))
        return ReadableLogRecord(told, self._resource, scope)


def _codes_of(record: logging.LogRecord) -> Iterator[CodeType]:
    """The code of the function that logs, as long as it does."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_filename == record.pathname and code.co_name == record.funcName:
            yield code
            return
        frame = frame.f_back


def _comes_of_export(record: logging.LogRecord) -> bool:
    name = record.name
    return (
        name.partition(".")[0] in _NEVER
        or name.startswith(_NEVER_EITHER)
        or threading.current_thread().name.startswith(OUR_THREADS)
    )
