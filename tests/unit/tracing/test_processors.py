"""Span processors of the user's: called for everything, and unable to break or hold up anything."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import SpanProcessor

from avatar_telemetry._base.guard import Guard
from avatar_telemetry.tracing.processors import GuardedProcessor, run_until
from tests.support.waiting import DEADLINE, eventually

SPAN: Any = object()
CALLS = (
    ("on_start", (SPAN, Context({"mine": 1}))),
    ("_on_ending", (SPAN,)),
    ("on_end", (SPAN,)),
    ("shutdown", ()),
    ("force_flush", (7,)),
)


class Recording(SpanProcessor):
    """Remembers its calls."""

    def __init__(self, flushed: bool = True) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self._flushed = flushed

    def on_start(self, span: Any, parent_context: Context | None = None) -> None:
        self.calls.append(("on_start", (span, parent_context)))

    def _on_ending(self, span: Any) -> None:
        self.calls.append(("_on_ending", (span,)))

    def on_end(self, span: Any) -> None:
        self.calls.append(("on_end", (span,)))

    def shutdown(self) -> None:
        self.calls.append(("shutdown", ()))

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        self.calls.append(("force_flush", (timeout_millis,)))
        return self._flushed


class Raising(SpanProcessor):
    """Raises at each call."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


@pytest.mark.parametrize("flushed", [True, False])
def test_every_call_is_passed_on(flushed: bool) -> None:
    """The user's processor gets what the SDK passes, and its flush decides the result."""
    processor = Recording(flushed)
    guarded = GuardedProcessor(processor, Guard())
    results = [getattr(guarded, name)(*arguments) for name, arguments in CALLS]
    assert processor.calls == list(CALLS)
    assert results == [None, None, None, None, flushed]


@pytest.mark.parametrize(("name", "arguments"), CALLS, ids=[name for name, _ in CALLS])
def test_what_a_processor_raises_is_counted(name: str, arguments: tuple[Any, ...]) -> None:
    """Nothing passes to the code that is watched; a flush that raises has not flushed."""
    failures: list[str] = []
    guarded = GuardedProcessor(Raising(), Guard(failures.append))
    assert not getattr(guarded, name)(*arguments)
    assert failures == ["spans"]


def test_work_is_waited_for() -> None:
    """Work that is done before the deadline is done when the call returns."""
    done: list[int] = []
    run_until(lambda: done.append(1), time.monotonic() + DEADLINE)
    assert done == [1]


@pytest.mark.parametrize("left", [0.01, 0.0, -5.0])
def test_work_is_not_waited_for_beyond_the_deadline(left: float) -> None:
    """A processor that hangs holds up nobody, not even where the deadline is past."""
    release = threading.Event()
    done: list[int] = []

    def hang() -> None:
        release.wait(DEADLINE / 4)  # ends a run_until() that waits for it
        done.append(1)

    run_until(hang, time.monotonic() + left)
    assert done == []
    release.set()
    eventually(lambda: done, "the end of the work")
