"""The guard around internal code: a failure is counted and logged, never raised.

Exceptions of the application do not pass through it; they reach their caller unchanged.
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
"""Seconds between two log records about the same place."""


class Guard:
    """Count and log internal failures, with at most one log record a minute for each place.

    Args:
        count: a function that is called with the place of each failure.
        clock: a function that returns monotonic seconds.
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
        """Report the exception that is being handled. Never raises.

        Args:
            where: the place of the failure, from a closed set; it becomes a label value.
        """
        self._report(partial(self._record, where, sys.exc_info()[1]))

    def warn(self, message: str, *args: object) -> None:
        """Log a warning.

        Args:
            message: the message, with a ``%`` format for each argument.
            args: the arguments of the message.
        """
        self._report(partial(LOGGER.warning, message, *args))

    @contextmanager
    def holding(self, lock: AbstractContextManager[object]) -> Iterator[None]:
        """Hold a lock, and delay reports of failures until it is released: gevent runs other
        greenlets while a record is written, and the lock does not exclude those of this thread.

        Args:
            lock: the lock, which is reentrant.
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
                LOGGER.error("internal telemetry error in %s; the request was not affected", where,
                             exc_info=error)  # fmt: skip
        except Exception:  # noqa: BLE001 - a guard that raises would be worse than none
            return

    @contextmanager
    def at(self, where: str) -> Iterator[None]:
        """Report an exception of the block instead of raising it: ``with guard.at("scrape"):``."""
        try:
            yield
        except Exception:  # noqa: BLE001 - the only place for that
            self.failed(where)
