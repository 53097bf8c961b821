"""Export the log records of a worker.

The handler is added to the root logger. Levels, handlers and formats of the application do not
change.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from time import time_ns
from types import CodeType, FrameType

from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import get_current_span

from avatar_telemetry._base.guard import Guard
from avatar_telemetry._base.log import REQUESTS
from avatar_telemetry.http import scrub
from avatar_telemetry.http.privacy import Privacy
from avatar_telemetry.logs.encoder import encode_record
from avatar_telemetry.logs.formatters import message_of
from avatar_telemetry.tracing.encoder import encode_scope
from avatar_telemetry.tracing.span import hold_record
from avatar_telemetry.tracing.writer import pack_section

LEVEL = logging.WARNING
OUR_THREADS = "avatar-telemetry"
"""The prefix of the names of internal threads: their records are caused by an export."""
_EXCLUDED_ROOTS = ("avatar_telemetry", "opentelemetry", "urllib3", "requests", "grpc")
_EXCLUDED_PREFIXES = ("ivatar.opentelemetry",)
_SEVERITIES = (
    (logging.CRITICAL, "FATAL", 21),
    (logging.ERROR, "ERROR", 17),
    (LEVEL, "WARN", 13),
)
"""Name and number of each severity (OpenTelemetry, logs data model, "Field: SeverityNumber")."""


class ExportHandler(logging.Handler):
    """A handler of records of level ``WARNING`` and above, except those that an export may cause.

    Args:
        encode: a function that encodes a record as the payload of a frame.
        put: a function that writes the payload; must not block or raise.
        guard: the guard that reports internal failures.
    """

    def __init__(
        self,
        encode: Callable[[logging.LogRecord], bytes],
        put: Callable[[bytes], object],
        guard: Guard,
    ) -> None:
        super().__init__(LEVEL)
        self._encode = encode
        self._put = put
        self._guard = guard

    def emit(self, record: logging.LogRecord) -> None:
        """Export a record, at the end of its request if that may be dropped. Never raises."""
        with self._guard.at("logs"):
            if not _is_caused_by_export(record):
                payload = self._encode(record)
                if not hold_record(partial(self._put, payload)):
                    self._put(payload)
        with self._guard.at("logs"):
            self._handle_last_resort(record)

    def attach(self) -> None:
        """Add this handler to the root logger, unless it is there: ``dictConfig`` removes handlers
        that it did not add. In a forked child it replaces that of the parent."""
        root = logging.getLogger()
        for other in [each for each in root.handlers if isinstance(each, ExportHandler)]:
            if other is not self:
                root.removeHandler(other)
        root.addHandler(self)

    def detach(self) -> None:
        """Remove this handler from the root logger."""
        logging.getLogger().removeHandler(self)

    def _handle_last_resort(self, record: logging.LogRecord) -> None:
        """Write a warning to standard error if no other handler is configured, as Python would do
        without this handler."""
        last = logging.lastResort
        if last is not None and record.levelno >= last.level and not any(self._others(record.name)):
            last.handle(record)

    def _others(self, name: str) -> Iterator[logging.Handler]:
        logger: logging.Logger | None = logging.getLogger(name)
        while logger is not None:
            yield from (each for each in logger.handlers if each is not self)
            logger = logger.parent if logger.propagate else None


class Encoder:
    """Encode Python's log records, each as a frame of one OTLP record.

    Args:
        privacy: the redaction of the privacy mode.
    """

    def __init__(self, privacy: Privacy) -> None:
        self._privacy = privacy

    def encode(self, record: logging.LogRecord) -> bytes:
        """Return the payload of a frame, with the current trace and without ``extra`` fields."""
        _, text, number = next(
            (each for each in _SEVERITIES if record.levelno >= each[0]), _SEVERITIES[-1]
        )
        error = record.exc_info[1] if record.exc_info else None
        message = message_of(record)
        has_client_data = record.name != REQUESTS.name
        encoded = encode_record(
            time=int(record.created * 1e9),
            observed=time_ns(),
            severity=number,
            severity_text=text,
            body=self._privacy.message(message, _codes_of(record)) if has_client_data else message,
            attributes={
                "code.file.path": scrub.encodable(record.pathname),
                "code.line.number": record.lineno,
                "code.function.name": scrub.encodable(record.funcName or ""),
                **(self._privacy.describe(error) if error is not None else {}),
            },
            context=get_current_span().get_span_context(),
        )
        scope = encode_scope(InstrumentationScope(scrub.encodable(record.name)))
        return pack_section(len(scope), len(encoded)) + scope + encoded


def _codes_of(record: logging.LogRecord) -> Iterator[CodeType]:
    """Yield the code of the function that logs the record, which is on the stack."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_filename == record.pathname and code.co_name == record.funcName:
            yield code
            return
        frame = frame.f_back


def _is_caused_by_export(record: logging.LogRecord) -> bool:
    name = record.name
    return name != REQUESTS.name and (
        name.partition(".")[0] in _EXCLUDED_ROOTS
        or name.startswith(_EXCLUDED_PREFIXES)
        or threading.current_thread().name.startswith(OUR_THREADS)
    )
