"""A clock that stands still, but for the pauses that are made by it."""

from __future__ import annotations

from threading import Event


class PauseClock:
    """Skips pauses: time passes only where an event of :meth:`event` is waited for."""

    def __init__(self, now: float) -> None:
        self.now = now
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def event(self) -> Event:
        """An event whose ``wait`` returns at once, with its seconds on the clock."""
        clock = self

        class SkippedPause(Event):
            def wait(self, timeout: float | None = None) -> bool:
                assert timeout is not None, "it would wait for ever"
                clock.now += timeout
                clock.pauses.append(timeout)
                return self.is_set()

        return SkippedPause()
