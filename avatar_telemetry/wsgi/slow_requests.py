"""Stacks of requests that are slow, and of those that gunicorn's timeout ends.

    slow = SlowRequests(threshold, guard)
    slow.start()
    ...
    slow.stop()

One thread reads the stacks of the threads and greenlets that serve, at an interval. A request does
nothing for it, except that greenlets have to be noted (:mod:`avatar_telemetry.wsgi.greenlets`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from time import perf_counter, thread_time
from typing import TYPE_CHECKING, Any

from avatar_telemetry._base.guard import Guard
from avatar_telemetry._base.log import REQUESTS
from avatar_telemetry._base.native import original, uses_greenlets
from avatar_telemetry.wsgi.greenlets import serving_stacks, suspended_stacks
from avatar_telemetry.wsgi.names import server_name
from avatar_telemetry.wsgi.request import CONTEXT, AvatarRequest
from avatar_telemetry.wsgi.stacks import Stack, running_requests, thread_stacks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

SLOW_EVENT = "avatar_telemetry.slow_request"
ABORT_EVENT = "avatar_telemetry.worker_abort"
ELAPSED = "avatar_telemetry.request.elapsed"
"""The attribute with the seconds since the start of the request."""
STACK = "code.stacktrace"
"""The attribute with the stack (semantic conventions, attribute registry, "Code")."""
MAX_STACKS = 3
"""Stacks of one slow request."""
MAX_PER_MINUTE = 30
"""Stacks of all slow requests of a process."""
MAX_INTERVAL = 1.0
"""Seconds between two readings of the stacks."""
READINGS = 4
"""Readings within the threshold."""
MAX_SHARE = 0.01
"""Share of a processor that the thread may use; it pauses for longer after a long reading."""
KILL_DELAY = 1.0
"""Seconds between SIGABRT and SIGKILL of gunicorn's master."""
MAX_LINES = 20
"""Log records about the requests in an aborted worker."""
LAST_ALLOWED = f"; further stacks are omitted for a minute (at most {MAX_PER_MINUTE})"


class SlowRequests:
    """A thread that records the stacks of requests that run longer than a threshold.

    Args:
        threshold: the seconds after which the first stack of a request is taken; each further one
            is taken after twice the time.
        guard: the guard that reports internal failures.
    """

    def __init__(self, threshold: float, guard: Guard) -> None:
        self._threshold = threshold
        self._guard = guard
        self._interval = min(threshold / READINGS, MAX_INTERVAL)
        # A forked child that serves inherits the stack of a request of its parent.
        self._created = perf_counter()
        self._stopped: Any = None
        self._log_soon: Callable[[Callable[[], None]], object] = lambda log: log()
        self._left = MAX_PER_MINUTE
        self._renew_at = 0.0

    def start(self) -> None:
        """Start the thread. Under gevent it is one of the operating system, because a greenlet does
        not run while another one computes.

        Raises:
            RuntimeError: no thread can be started.
        """
        self._stopped = original("_thread", "allocate_lock")()
        self._stopped.acquire()
        if uses_greenlets():
            import gevent

            # The handlers of the application's log belong to the greenlets of the main thread.
            loop = gevent.get_hub().loop
            self._log_soon = partial(loop.run_callback_threadsafe, gevent.spawn)
            original("_thread", "start_new_thread")(self._run, (self._stopped,))
        else:
            threading.Thread(
                target=self._run, args=(self._stopped,), name="avatar-telemetry-stacks", daemon=True
            ).start()

    def stop(self) -> None:
        """End the thread, if it was started. Only the first call counts."""
        stopped, self._stopped = self._stopped, None
        if stopped is not None:
            stopped.release()

    def look(self, now: float) -> None:
        """Record the stack of each request for which one is due.

        Args:
            now: the time of ``time.perf_counter()``.
        """
        stacks = thread_stacks() + serving_stacks()
        for request, frames in running_requests(stacks).items():
            elapsed, taken = now - request.started, len(request.stacks)
            if taken >= MAX_STACKS or elapsed < self._threshold * 2**taken:
                continue
            if request.started < self._created:
                continue
            if now >= self._renew_at:
                self._renew_at, self._left = now + 60.0, MAX_PER_MINUTE
            if not self._left:
                return
            self._left -= 1
            text = _record(request, SLOW_EVENT, elapsed, frames)
            if not self._left:
                text += LAST_ALLOWED
            self._log_soon(partial(_log, request, "slow request: %s", text))

    def _run(self, stopped: Any) -> None:
        pause = self._interval
        while not stopped.acquire(True, pause):
            started = thread_time()
            with self._guard.at("stacks"):
                self.look(perf_counter())
            pause = max(self._interval, (thread_time() - started) / MAX_SHARE)


def record_abort(interrupted: FrameType | None, guard: Guard) -> None:
    """Record the requests in progress in a worker that gunicorn aborts. Never raises.

    The request that the signal interrupted ends with the exception that gunicorn raises. Those of
    other threads would end with the process, uncounted: they fail here, unless they are so young
    that they may still respond. gevent ends those of other greenlets itself.

    Args:
        interrupted: the frame that the signal interrupted.
        guard: the guard that reports internal failures.
    """
    now = perf_counter()
    with guard.at("stacks"):
        own = running_requests([] if interrupted is None else [interrupted])
        of_threads = running_requests(thread_stacks())
        of_greenlets = running_requests(suspended_stacks())
        oldest = sorted({**of_threads, **of_greenlets}.items(), key=lambda each: each[0].started)
        texts = [
            (request, _record(request, ABORT_EVENT, now - request.started, frames))
            for request, frames in (*own.items(), *oldest)
        ]
        for request in of_threads:
            if now - request.started >= KILL_DELAY:
                request.failed(SystemExit(1))
        # Last, because a handler may wait for a lock that another thread holds.
        for request, text in texts[:MAX_LINES]:
            _log(request, "worker aborted (SIGABRT) during a request: %s", text)
        if len(texts) > MAX_LINES:
            REQUESTS.warning("worker aborted during %d more requests", len(texts) - MAX_LINES)


def _record(request: AvatarRequest, event: str, elapsed: float, frames: Sequence[FrameType]) -> str:
    """Add a stack to a request, and return a text about it for the log."""
    stack = Stack.of(frames)
    request.add_stack(event, {ELAPSED: round(elapsed, 3), STACK: stack.traceback})
    name, recorded = server_name(request.method, request.route.template), request.recorded
    trace = "" if recorded is None else f", trace_id={recorded[0].trace_id:032x}"
    return f"{name} after {elapsed:.1f} s{trace}, stack: {stack.line}"


def _log(request: AvatarRequest, message: str, text: str) -> None:
    """Log a warning in the trace of a request."""
    context = request.context
    token = None if context is None else CONTEXT.set(context)
    try:
        REQUESTS.warning(message, text)
    finally:
        if token is not None:
            CONTEXT.reset(token)
