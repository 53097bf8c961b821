"""What exporters log about their failures: one line a minute per host, and no secret in it.

Every worker exports, and each failed batch is worth a line or more to the SDK; with the collector
gone that floods the log of a busy host. So the workers share a stamp in the runtime folder.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from avatar_telemetry import otel_private
from avatar_telemetry.config.otlp import OTLP_SETTINGS, SIGNALS
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.export.foreign import Secrets, one_line
from avatar_telemetry.export.wanted import settled
from avatar_telemetry.store.files import open_own

STAMP = "failures.stamp"
INTERVAL = 60.0
"""Seconds between two lines."""
MAX_READ = 4_000
"""Characters of a message that are searched for secrets."""
RETRYING = "Transient error"
"""How a line begins that tells of one more try: the line of the end is worth more."""
_EXPORTERS = "opentelemetry.exporter.otlp."
LOGGERS = (
    _EXPORTERS + "common.http",
    *(
        f"{_EXPORTERS}proto.{protocol}.{exporter}"
        for protocol in ("http", "grpc")
        for exporter in ("trace_exporter", "metric_exporter", "exporter")
    ),
    "opentelemetry.sdk.trace.export",
    *otel_private.LOGGERS,
)
"""A logger's filter does not see what its children log, so each one is named."""
_SIGNAL = re.compile(
    r"(?P<traces>trace_exporter|\b(?:spans?|traces?)\b)"
    r"|(?P<metrics>metric_exporter|\bmetrics?\b)|(?P<logs>_log_exporter|\blogs?\b)",
    re.IGNORECASE,
)
"""How the name of a logger, or its message, tells what was to be sent."""


def make_stamp(folder: Path) -> None:
    """Make the stamp's file, to be done as the user that the workers run as."""
    with suppress(OSError):
        os.close(open_own(folder / STAMP, os.O_RDWR | os.O_CREAT))


class Throttle(logging.Filter):
    """Lets one failure a minute per host pass, on one line, without the secrets.

    What is below a warning always passes: who asks for ``DEBUG`` wants all of it.

    Args:
        folder: the runtime folder.
        secrets: texts that must not stand in a line.
        clock: seconds since the epoch.
        places: where each signal is sent, for the end of a failure's line.
    """

    def __init__(
        self,
        folder: Path,
        secrets: Iterable[str],
        clock: Callable[[], float] = time.time,
        places: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self._stamp = folder / STAMP
        self._secrets = Secrets(secrets)
        self._clock = clock
        self._places = places or {}
        self._own_next = 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record passes; never raises."""
        try:
            passes = record.levelno < logging.WARNING or (
                not record.getMessage().startswith(RETRYING) and self._may_speak()
            )
            if passes:
                self._clean(record)
        except Exception:  # noqa: BLE001 - a log record is never worth an exception
            return False
        return passes

    def _may_speak(self) -> bool:
        now = self._clock()
        try:
            return _renew(self._stamp, now)
        except OSError:  # the folder was removed under us
            allowed = now >= self._own_next
            self._own_next = now + INTERVAL if allowed else self._own_next
            return allowed

    def _clean(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text += f": {type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
        place = self._place(record.name, text) if record.levelno >= logging.WARNING else ""
        record.msg, record.args = one_line(self._secrets.redact(text[:MAX_READ])) + place, ()
        record.exc_info = record.exc_text = record.stack_info = None

    def _place(self, logger: str, text: str) -> str:
        found = _SIGNAL.search(logger) or _SIGNAL.search(text)
        place = self._places.get(found.lastgroup or "") if found else None
        return f" (sent to {place})" if place else ""


def install_throttle(folder: Path, settings: Settings) -> Throttle:
    """Put one filter on the loggers of all exporters, in place of an older one of ours."""
    throttle = Throttle(folder, secrets_of(settings), places=places_of(settings))
    for name in LOGGERS:
        logger = logging.getLogger(name)
        for old in [each for each in logger.filters if isinstance(each, Throttle)]:
            logger.removeFilter(old)
        logger.addFilter(throttle)
    return throttle


def secrets_of(settings: Settings) -> Iterator[str]:
    """What of the exporters' settings must not be logged."""
    for otlp in settings.otlp.values():
        yield from (value for _, value in otlp.headers)
        yield urlsplit(otlp.endpoint).query


def places_of(settings: Settings) -> dict[str, str]:
    """Where each signal is sent, and which variable says so."""
    default = f"the default of {OTLP_SETTINGS[None]['endpoint'].variable}"
    each = {signal: settled(settings, signal) for signal in SIGNALS}
    return {
        signal: f"{otlp.place}, {otlp.endpoint_from or default}" for signal, otlp in each.items()
    }


def _renew(stamp: Path, now: float) -> bool:
    """Whether the last line of this host is a minute old; then this one is the last."""
    file = open_own(stamp, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Another worker may have read its clock later and been first. A clock that was put back
        # must not silence us until it has caught up.
        if abs(now - _time_in(os.pread(file, 32, 0))) < INTERVAL:
            return False
        os.pwrite(file, f"{now:<32.6f}".encode(), 0)
        return True
    except BlockingIOError:
        return False  # another worker speaks
    finally:
        os.close(file)


def _time_in(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        return -INTERVAL
