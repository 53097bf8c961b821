"""The one guard around our own work: what fails there is counted and logged, never raised.

The application's exceptions do not come here; they always pass.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

from avatar_telemetry._base.log import LOGGER

LOG_INTERVAL = 60.0
"""Seconds between two log records of the same place."""


class Guard:
    """Counts and logs our own failures, at most one log record a minute for each place.

    Args:
        count: told the place of every failure.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        count: Callable[[str], None] = lambda where: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.count = count
        self._clock = clock
        self._next_record: dict[str, float] = {}
        self._local = threading.local()

    def failed(self, where: str) -> None:
        """Tell of the exception that is being handled. Never raises.

        Args:
            where: a word of a closed set; it becomes a label value.
        """
        self._report(partial(self._record, where, sys.exc_info()[1]))

    def warn(self, message: str, *args: object) -> None:
        """Log a warning.

        Args:
            message: with ``%`` places for the arguments.
            args: of it.
        """
        self._report(partial(LOGGER.warning, message, *args))

    @contextmanager
    def holding(self, lock: AbstractContextManager[object]) -> Iterator[None]:
        """Hold a lock, and report after its release what fails meanwhile: gevent runs other
        greenlets while a record is written, and a lock of their own thread does not stop them.

        Args:
            lock: reentrant.
        """
        outer = getattr(self._local, "reports", None)
        reports: list[Callable[[], None]] = [] if outer is None else outer
        try:
            with lock:
                self._local.reports = reports
                try:
                    yield
                finally:
                    self._local.reports = outer
        finally:
            if outer is None:
                for report in reports:
                    report()

    def _report(self, report: Callable[[], None]) -> None:
        reports = getattr(self._local, "reports", None)
        if reports is None:
            report()
        else:
            reports.append(report)

    def _record(self, where: str, error: BaseException | None) -> None:
        try:
            self.count(where)
            now = self._clock()
            if now >= self._next_record.get(where, now):
                self._next_record[where] = now + LOG_INTERVAL
                LOGGER.error("avatar_telemetry failed in %s; the application goes on", where,
                             exc_info=error)  # fmt: skip
        except Exception:  # noqa: BLE001 - a guard that raises would be worse than none
            return

    @contextmanager
    def at(self, where: str) -> Iterator[None]:
        """``with guard.at("scrape"):`` for work that is not on the path of a request."""
        try:
            yield
        except Exception:  # noqa: BLE001 - the one place for it
            self.failed(where)
