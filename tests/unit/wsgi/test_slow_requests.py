"""Stacks of slow requests and of aborted workers: when they are taken, and where they stand."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from time import perf_counter, time_ns
from typing import Any

import pytest
from opentelemetry.trace import StatusCode

from avatar_telemetry._base.guard import Guard
from avatar_telemetry._base.log import REQUESTS
from avatar_telemetry.tracing.writer import SpanWriter
from avatar_telemetry.wsgi import slow_requests
from avatar_telemetry.wsgi.greenlets import SERVING, noting_greenlet
from avatar_telemetry.wsgi.request import AvatarRequest
from avatar_telemetry.wsgi.slow_requests import ELAPSED, STACK, SlowRequests, record_abort
from tests.support.frames import Frames
from tests.support.held import Gate, held, waiting
from tests.support.recorder import Recorder
from tests.support.requirements import require
from tests.support.waiting import eventually
from tests.support.wsgi_client import call

PATH = "/avatar/" + "0123456789abcdef" * 2
THRESHOLD = 2.0


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[Any]:
    """The lines that were logged until now."""
    caplog.set_level(logging.WARNING, REQUESTS.name)
    return lambda: [each.getMessage() for each in caplog.records if each.name == REQUESTS.name]


def slow(recorder: Recorder) -> SlowRequests:
    return SlowRequests(THRESHOLD, recorder.guard)


def look_after(watch: SlowRequests, request: AvatarRequest, *seconds: float) -> None:
    """Look at each of these times after the start of a request."""
    for each in seconds:
        watch.look(request.started + each)


def test_the_stack_of_a_slow_request(traced: Recorder, lines: Any) -> None:
    """It is an event of the server span at the time when it was taken, and a line in the log."""
    gate, watch = Gate(), slow(traced)
    with held(traced.wrap(waiting(gate)), gate, PATH):
        before = time_ns()
        look_after(watch, gate.requests[0], 2.06)
        after = time_ns()
    (event,) = traced.server.events
    assert event.name == "avatar_telemetry.slow_request"
    assert before <= event.timestamp <= after
    assert event.attributes[ELAPSED] == 2.06
    stack = event.attributes[STACK]
    assert stack.startswith('File "tests/support/held.py", line ')
    assert ", in Gate.wait\n" in stack or ", in wait\n" in stack
    (line,) = lines()
    assert line.startswith("slow request: GET /avatar/{digest} after 2.1 s, trace_id=")
    assert f"trace_id={traced.server.trace_id:032x}, stack: " in line
    assert "(tests/support/held.py:" in line
    assert " > " in line
    assert traced.server.status.status_code is StatusCode.UNSET
    assert traced.operation.events == ()


def test_it_is_taken_again_after_twice_the_time(traced: Recorder, lines: Any) -> None:
    """At most three times, and not before the threshold."""
    gate, watch = Gate(), slow(traced)
    with held(traced.wrap(waiting(gate)), gate, PATH):
        times = (0.1, 1.9, 2.0, 2.5, 3.9, 4.0, 5.0, 8.1, 9.0, 16.0, 100.0)
        look_after(watch, gate.requests[0], *times)
    elapsed = [event.attributes[ELAPSED] for event in traced.server.events]
    assert elapsed == [2.0, 4.0, 8.1]
    assert len(lines()) == 3


@pytest.mark.parametrize(
    "environ",
    [
        pytest.param({"OTEL_TRACES_SAMPLER": "always_off"}, id="not sampled"),
        pytest.param({"OTEL_PYTHON_EXCLUDED_URLS": "avatar"}, id="excluded"),
        pytest.param(None, id="not exported"),
    ],
)
def test_without_a_span_there_is_the_line(
    traced: Recorder, recorder: Recorder, lines: Any, environ: Any
) -> None:
    """The log has the stack of each slow request, and no trace where none is recorded."""
    used = recorder if environ is None else traced.set(**environ)
    gate, watch = Gate(), slow(used)
    with held(used.wrap(waiting(gate)), gate, PATH):
        look_after(watch, gate.requests[0], 3.0)
    (line,) = lines()
    assert line.startswith("slow request: GET /avatar/{digest} after 3.0 s, stack: ")
    assert used.spans == []
    if used is not recorder:
        used.book.detach()


def test_a_record_belongs_to_its_trace(traced: Recorder) -> None:
    """Formatters and exporters of a record find the span, though another thread logs."""
    from opentelemetry.trace import get_current_span

    found: list[int] = []

    class Trace(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(get_current_span().get_span_context().trace_id)

    gate, watch, handler = Gate(), slow(traced), Trace()
    REQUESTS.addHandler(handler)
    try:
        with held(traced.wrap(waiting(gate)), gate, PATH):
            look_after(watch, gate.requests[0], 3.0)
    finally:
        REQUESTS.removeHandler(handler)
    assert found == [traced.server.trace_id]


def test_what_is_written_has_it_too(tmp_path: Any) -> None:
    """A request with a stack is not joined from blocks, which have no events; others are."""
    frames = Frames()
    recorder = Recorder(tmp_path, traced=True, sink=SpanWriter(frames))
    gate, watch = Gate(), slow(recorder)
    with held(recorder.wrap(waiting(gate)), gate, PATH):
        look_after(watch, gate.requests[0], 3.0)
    call(recorder.wrap(waiting(gate)), path=PATH)
    events = {span.name: [each.name for each in span.events] for span in frames.spans()[:2]}
    name = "GET /avatar/{digest}"
    assert events == {"avatar.serve_png": [], name: ["avatar_telemetry.slow_request"]}
    assert [len(span.events) for span in frames.spans()[2:]] == [0, 0]
    recorder.book.detach()


def test_a_minute_has_a_limit(
    traced: Recorder, lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where each request is slow, some are logged; the last record reports the limit."""
    monkeypatch.setattr(slow_requests, "MAX_PER_MINUTE", 2)
    gate, watch = Gate(), slow(traced)
    with held(traced.wrap(waiting(gate)), gate, *[PATH] * 4):
        now = perf_counter() + 3
        watch.look(now)
        assert len(lines()) == 2
        watch.look(now + 59)
        assert [slow_requests.LAST_ALLOWED in line for line in lines()] == [False, True]
        watch.look(now + 60)
        assert len(lines()) == 4


def test_a_request_of_the_parent_process(traced: Recorder, lines: Any) -> None:
    """A child that serves inherits the frames of the request in which it was forked."""
    gate = Gate()
    with held(traced.wrap(waiting(gate)), gate, PATH):
        slow(traced).look(perf_counter() + 60)
    assert lines() == []


def test_the_thread(traced: Recorder, lines: Any) -> None:
    """It finds a slow request by itself, and ends when it is stopped."""
    gate, watch = Gate(), SlowRequests(0.05, traced.guard)
    watch.start()
    try:
        with held(traced.wrap(waiting(gate)), gate, PATH):
            eventually(lambda: len(lines()) == 3)
    finally:
        watch.stop()
        watch.stop()
    assert [event.name for event in traced.server.events] == [slow_requests.SLOW_EVENT] * 3


def test_its_share_of_a_processor_has_a_limit(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a look takes long, the next one comes later."""
    pauses: list[float] = []

    class Stopped:
        def acquire(self, blocking: bool, pause: float) -> bool:
            pauses.append(pause)
            return len(pauses) == 3

    times = iter([5.0, 5.001, 6.0, 6.25])
    monkeypatch.setattr(slow_requests, "thread_time", lambda: next(times))
    watch = SlowRequests(THRESHOLD, recorder.guard)
    watch._run(Stopped())
    assert pauses == pytest.approx([0.5, 0.5, 25.0])


def test_a_fault_of_ours_is_counted() -> None:
    """The thread goes on after it."""
    faults: list[str] = []

    class Failing(SlowRequests):
        # Not a patch of the method: the thread may look once more when the test has ended. Before
        # Python 3.13 a look at the frames of pytest keeps their local variables alive.
        def look(self, now: float) -> None:
            if len(faults) < 2:
                raise ZeroDivisionError

    watch = Failing(0.01, Guard(faults.append))
    watch.start()
    eventually(lambda: faults == ["stacks"] * 2)
    watch.stop()


def test_an_abort_of_the_own_request(traced: Recorder, lines: Any) -> None:
    """The request that the signal interrupted leaves its stack, and fails by the exception."""

    def application(environ, start_response):
        record_abort(sys._getframe(), traced.guard)
        raise SystemExit(1)

    with pytest.raises(SystemExit):
        call(traced.wrap(application), path=PATH)
    event, exception = traced.server.events
    assert event.name == "avatar_telemetry.worker_abort"
    assert event.attributes[STACK].endswith("application")
    assert exception.attributes["exception.type"] == "SystemExit"
    assert traced.value("ivatar_requests_total", status_code="500") == 1
    (line,) = lines()
    assert line.startswith("worker aborted (SIGABRT) during a request: GET /avatar/{digest} after")


def test_an_abort_with_requests_of_other_threads(
    traced: Recorder, lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They end with the process: they fail, except one that has just begun and may still end."""
    monkeypatch.setattr(slow_requests, "KILL_DELAY", 600)
    gate = Gate()
    with held(traced.wrap(waiting(gate)), gate, "/old", "/older", "/young"):
        old, older, _ = gate.requests
        old.started -= 5_000
        older.started -= 9_000
        record_abort(None, traced.guard)
        assert [each.finished for each in gate.requests] == [True, True, False]
        assert traced.value("ivatar_requests_total", status_code="500") == 2
    events = [[event.name for event in span.events] for span in traced.spans]
    assert events == [["avatar_telemetry.worker_abort", "exception"]] * 2 + [
        ["avatar_telemetry.worker_abort"]
    ]
    assert traced.value("ivatar_requests_total") == 3
    assert ["after 9" in lines()[0], "after 5" in lines()[1], len(lines())] == [True, True, 3]


def test_an_abort_with_many_requests(
    traced: Recorder, lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log has some of them and the number of the others; each span has its event."""
    monkeypatch.setattr(slow_requests, "MAX_LINES", 2)
    monkeypatch.setattr(slow_requests, "KILL_DELAY", 600)
    gate = Gate()
    with held(traced.wrap(waiting(gate)), gate, *[PATH] * 5):
        record_abort(None, traced.guard)
    assert len(lines()) == 3
    assert lines()[-1] == "worker aborted during 3 more requests"
    assert [len(span.events) for span in traced.spans[1::2]] == [1] * 5


def test_nothing_runs_in_an_idle_worker(traced: Recorder, lines: Any) -> None:
    """An abort between two requests tells nothing."""
    record_abort(sys._getframe(), traced.guard)
    assert lines() == []


def test_a_suspended_greenlet(
    traced: Recorder, lines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own stack is found while another one runs, and it is forgotten with its end."""
    require("gevent")
    from greenlet import getcurrent, greenlet

    main = getcurrent()

    def application(environ, start_response):
        main.switch()
        start_response("200 OK", [])
        return []

    layer = traced.layer
    monkeypatch.setattr(layer, "_begin", noting_greenlet(layer._begin))
    watch = slow(traced)
    serving = greenlet(lambda: call(traced.wrap(application), path=PATH))
    serving.switch()
    assert len(SERVING) == 1
    watch.look(perf_counter() + 3)
    monkeypatch.setattr("avatar_telemetry.wsgi.greenlets.uses_greenlets", lambda: True)
    record_abort(None, traced.guard)
    serving.switch()
    events = traced.server.events
    assert [event.name.rpartition(".")[2] for event in events] == ["slow_request", "worker_abort"]
    assert all(event.attributes[STACK].endswith("application") for event in events)
    assert traced.value("ivatar_requests_total", status_code="200") == 1
    watch.look(perf_counter() + 3)
    assert set() == SERVING
    assert len(lines()) == 2
