"""Log failures of exports: at most one line a minute for each signal, without secrets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from avatar_telemetry._base.log import LOGGER, debug
from avatar_telemetry.config.destinations import settled
from avatar_telemetry.config.otlp import OTLP_SETTINGS, Signal
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.exporter.clients import Outcome
from avatar_telemetry.exporter.foreign import Secrets, one_line
from avatar_telemetry.exporter.last_error import ErrorFile

INTERVAL = 60.0
"""Seconds between two lines of one signal."""
MIN_ATTEMPTS = 2
"""Failed attempts of a batch before a line is logged: a collector may just be restarting."""
NAMES: dict[Signal, str] = {"traces": "spans", "logs": "log records", "metrics": "metrics"}
"""The name of each signal in a line."""
MAX_SEARCHED = 4_000
"""Characters of a message that are searched for secrets."""


class FailureLog:
    """The log of the failures of one signal.

    Args:
        signal: the signal: ``spans``, ``log records`` or ``metrics``.
        place: the endpoint and the variable that names it.
        secrets: the texts that must not be logged.
        errors: the file of the last failure.
        clock: a monotonic clock, in seconds.
    """

    def __init__(
        self,
        signal: str,
        place: str,
        secrets: Iterable[str],
        errors: ErrorFile,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._signal = signal
        self._place = place
        self._secrets = Secrets(secrets)
        self._errors = errors
        self._clock = clock
        self._next = float("-inf")
        self._failing = False

    def outcome(self, outcome: Outcome, number: int) -> None:
        """Log the end of a batch.

        Args:
            outcome: the outcome of the last attempt.
            number: the number of items in the batch.
        """
        if not outcome.accepted:
            self._failing = True
            lost = f"{self._amount(number)} lost"
            if self._signal == NAMES["metrics"]:  # values that did not arrive are sent again
                lost = f"a push of {self._amount(number)} was refused, the next one repeats it"
            failure = f"cannot export {self._signal}" if outcome.retry else lost
            self.failed(f"{failure}: {outcome.error}")
        elif outcome.rejected:
            self.failed(
                f"the collector rejected {min(outcome.rejected, number)} of"
                f" {self._amount(number)}: {outcome.error or 'no reason given'}"
            )
        elif outcome.error:
            self._log(f"the collector warns about {self._signal}: {outcome.error}")
        elif self._failing:
            self._failing = False
            LOGGER.info("export of %s works again (sent to %s)", self._signal, self._place)
        else:
            debug("%s exported", self._amount(number))
        if outcome.accepted and not outcome.rejected:
            self._errors.resolved()

    def retrying(self, outcome: Outcome, attempts: int, waiting: int) -> None:
        """Log that a batch is to be sent again.

        Args:
            outcome: the outcome of the last attempt.
            attempts: the number of attempts.
            waiting: the number of items in the rings.
        """
        if attempts >= MIN_ATTEMPTS:
            self._failing = True
            amount = self._amount(waiting)
            self.failed(
                f"cannot export {self._signal}: {outcome.error}; retrying, {amount} waiting"
            )

    def abandoned(self, outcome: Outcome, waiting: int, *, lost: bool) -> None:
        """Log that the exporter ends before a collector accepted everything.

        Args:
            outcome: the outcome of the last attempt.
            waiting: the number of items in the rings.
            lost: true where the rings are removed, false where another exporter reads them.
        """
        self._next = self._clock()  # the last line of this process reports a loss
        fate = "lost: the server has ended" if lost else "kept for the next exporter"
        self.failed(
            f"cannot export {self._signal}: {outcome.error};"
            f" {self._amount(waiting)} not sent, {fate}"
        )

    def failed(self, message: str) -> None:
        """Log a failure, unless this signal had a line within the last minute."""
        if not self._errors.is_open or self._clock() >= self._next:
            self._errors.failed(self._line(message))
        self._log(message)

    def _log(self, message: str) -> None:
        now = self._clock()
        if now >= self._next:
            self._next = now + INTERVAL
            LOGGER.error("%s", self._line(message))

    def _line(self, message: str) -> str:
        return f"{self.clean(message)} (sent to {self._place})"

    def _amount(self, number: int) -> str:
        """Return a number of items with their name."""
        return f"{number} {self._signal if number != 1 else self._signal[:-1]}"

    def clean(self, text: str) -> str:
        """Return a text on one line without secrets."""
        return one_line(self._secrets.redact(text[:MAX_SEARCHED]))


def failure_log(settings: Settings, signal: Signal, folder: Path) -> FailureLog:
    """Make the log of a signal, with its endpoint and the variable that names it, for the exporter
    of a runtime directory."""
    otlp = settled(settings, signal)
    source = otlp.endpoint_from or f"the default of {OTLP_SETTINGS[None]['endpoint'].variable}"
    is_sent = "otlp" in getattr(settings, f"{signal}_exporters")
    place = f"{otlp.place}, {source}" if is_sent else "standard output"
    return FailureLog(NAMES[signal], place, secrets_of(settings), ErrorFile(folder, signal))


def secrets_of(settings: Settings) -> Iterator[str]:
    """Yield the values in the exporters' settings that must not be logged."""
    for otlp in settings.otlp.values():
        yield from (value for _, value in otlp.headers)
        yield urlsplit(otlp.endpoint).query
