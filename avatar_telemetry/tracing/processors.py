"""Span processors of the user: notified of every span, and isolated from requests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from avatar_telemetry._base.guard import Guard
from avatar_telemetry._base.otel_private import on_ending


class GuardedProcessor(SpanProcessor):
    """A processor that calls another one, and counts and logs its exceptions.

    Args:
        processor: the processor of the user.
        guard: the guard that reports its exceptions.
    """

    def __init__(self, processor: SpanProcessor, guard: Guard) -> None:
        self._processor = processor
        self._guard = guard

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        with self._guard.at("spans"):
            self._processor.on_start(span, parent_context=parent_context)

    def _on_ending(self, span: Span) -> None:
        with self._guard.at("spans"):
            on_ending(self._processor, span)

    def on_end(self, span: ReadableSpan) -> None:
        with self._guard.at("spans"):
            self._processor.on_end(span)

    def shutdown(self) -> None:
        with self._guard.at("spans"):
            self._processor.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        with self._guard.at("spans"):
            return self._processor.force_flush(timeout_millis)
        return False


def run_until(work: Callable[[], object], deadline: float) -> None:
    """Run a function of the user in a thread, and wait for it until a deadline.

    Args:
        work: the function.
        deadline: the time of ``time.monotonic()``.
    """
    thread = threading.Thread(target=work, name="avatar-telemetry-processors", daemon=True)
    thread.start()
    thread.join(max(deadline - time.monotonic(), 0.0))
