"""Log failures of exports: one line a minute for each signal, and no secret in it."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from urllib.parse import urlsplit

from avatar_telemetry import otel_private
from avatar_telemetry.config.destinations import settled
from avatar_telemetry.config.otlp import OTLP_SETTINGS, SIGNALS
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.exporter.clients import Outcome
from avatar_telemetry.exporter.foreign import Secrets, one_line
from avatar_telemetry.log import LOGGER, debug

INTERVAL = 60.0
"""Seconds between two lines of one signal."""
MIN_ATTEMPTS = 2
"""Failed attempts of a batch before a line is logged: a collector may only be restarting."""
MAX_READ = 4_000
"""Characters of a message that are searched for secrets."""
SDK_LOGGERS = (
    "opentelemetry.exporter.otlp.common.http",
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
    "opentelemetry.exporter.otlp.proto.grpc.metric_exporter",
    *otel_private.LOGGERS,
)
"""Loggers of the SDK's metric exporters. A filter does not see what a logger's children log."""
TRANSIENT = re.compile("Transient error")
"""Lines of the SDK about one more attempt; the last attempt has a line of its own."""


class FailureLog:
    """Logs the failures of one signal.

    Args:
        signal: ``spans``, ``log records`` or ``metrics``.
        place: endpoint and the variable that names it.
        secrets: texts that must not be logged.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        signal: str,
        place: str,
        secrets: Iterable[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._signal = signal
        self._place = place
        self._secrets = Secrets(secrets)
        self._clock = clock
        self._next = float("-inf")
        self._failing = False

    def outcome(self, outcome: Outcome, number: int) -> None:
        """Log the end of a batch of so many items, if anything of it was lost or works again."""
        if not outcome.accepted:
            self._failing = True
            self.failed(f"{number} {self._signal} are lost: {outcome.error}")
        elif outcome.rejected:
            self.failed(
                f"the collector rejected {min(outcome.rejected, number)} of {number}"
                f" {self._signal}: {outcome.error or 'no reason given'}"
            )
        elif outcome.error:
            self.failed(f"the collector warns about {self._signal}: {outcome.error}")
        elif self._failing:
            self._failing = False
            LOGGER.info("export of %s works again (sent to %s)", self._signal, self._place)
        else:
            debug("%d %s exported", number, self._signal)

    def retrying(self, outcome: Outcome, attempts: int, waiting: int) -> None:
        """Log that a batch is to be sent again.

        Args:
            outcome: of the last attempt.
            attempts: so far.
            waiting: items in the rings.
        """
        if attempts >= MIN_ATTEMPTS:
            self._failing = True
            self.failed(
                f"cannot export {self._signal}: {outcome.error}; retrying, {waiting} items wait"
            )

    def abandoned(self, outcome: Outcome, waiting: int) -> None:
        """Log that the exporter ends before a collector took everything.

        Args:
            outcome: of the last attempt.
            waiting: items in the rings.
        """
        self._next = self._clock()  # the last line of this process, and about a loss
        self.failed(f"cannot export {self._signal}: {outcome.error}; {waiting} items are left")

    def failed(self, message: str) -> None:
        """Log a failure, unless this signal had a line within the last minute."""
        now = self._clock()
        if now >= self._next:
            self._next = now + INTERVAL
            LOGGER.error("%s (sent to %s)", self.clean(message), self._place)

    def clean(self, text: str) -> str:
        """Return a text on one line without secrets."""
        return one_line(self._secrets.redact(text[:MAX_READ]))


class SdkFilter(logging.Filter):
    """Passes what the SDK's exporters log about metrics on to the log of the signal.

    Args:
        log: of metrics.
    """

    def __init__(self, log: FailureLog) -> None:
        super().__init__()
        self._log = log

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the logger goes on with the record: only below a warning, then without
        secrets."""
        try:
            text = record.getMessage()
            if record.levelno < logging.WARNING:
                record.msg, record.args = self._log.clean(text), ()
                return True
            if record.exc_info and record.exc_info[1] is not None:
                text += f": {type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
            if not TRANSIENT.match(text):
                self._log.failed(text)
        except Exception:  # noqa: BLE001 - a log record is never worth an exception
            return False
        return False


def filter_sdk(log: FailureLog) -> None:
    """Put one filter on the loggers of the SDK's exporters, in place of an older one."""
    new = SdkFilter(log)
    for name in SDK_LOGGERS:
        logger = logging.getLogger(name)
        for old in [each for each in logger.filters if isinstance(each, SdkFilter)]:
            logger.removeFilter(old)
        logger.addFilter(new)


def secrets_of(settings: Settings) -> Iterator[str]:
    """Yield the values in the exporters' settings that must not be logged."""
    for otlp in settings.otlp.values():
        yield from (value for _, value in otlp.headers)
        yield urlsplit(otlp.endpoint).query


def places_of(settings: Settings) -> Mapping[str, str]:
    """Return for each signal its endpoint and the variable that names it."""
    default = f"the default of {OTLP_SETTINGS[None]['endpoint'].variable}"
    each = {signal: settled(settings, signal) for signal in SIGNALS}
    return {
        signal: f"{otlp.place}, {otlp.endpoint_from or default}" for signal, otlp in each.items()
    }
