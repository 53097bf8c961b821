"""Stacks of slow requests, and of those that gunicorn's timeout ends."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

from avatar_telemetry.wsgi.slow_requests import KILL_DELAY
from tests.e2e.test_gunicorn_signals import HANG_MAIN_THREAD
from tests.support.gunicorn_server import (
    NO_SECOND_KILL,
    Background,
    GunicornServer,
    Serve,
    eventually,
)
from tests.support.otlp_records import ReceivedSpan, plain
from tests.support.otlp_sink import OtlpSink
from tests.support.requirements import require
from tests.support.rows import WORKER_CLASSES, by_default

SLOW = re.compile(r"slow request: (\S+ \S+) after ([\d.]+) s, trace_id=(\w{32}), stack: (.*)")
ABORTED = re.compile(r"worker aborted \(SIGABRT\) during a request: (.+) after .*, stack: (.*)")
NAME = "ann-smith"
"""A word of the client: in the query of the request that is held."""


def exporting(serve: Serve, sink: OtlpSink, application: str, **options: Any) -> GunicornServer:
    env = {
        "OTEL_EXPORT_ENABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url,
        "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "otlp",
        **options.pop("env", {}),
    }  # fmt: skip
    if options["worker_class"] == "gevent":
        require("gevent")
    return serve(application, workers=1, env=env, **options)


def server_span(sink: OtlpSink, name: str) -> ReceivedSpan:
    """The span of the one request with a name, once it has come."""

    def come() -> list[ReceivedSpan]:
        return [span for span in sink.spans() if span.kind == "SERVER" and span.name == name]

    (span,) = eventually(come, what=f"the span {name}")
    return span


def stacks(span: ReceivedSpan) -> list[tuple[str, str]]:
    """Name and stack of its events that have one."""
    events = [(event.name, plain(event.attributes)) for event in span.proto.events]
    return [(name, seen["code.stacktrace"]) for name, seen in events if "code.stacktrace" in seen]


@pytest.mark.parametrize("worker_class", by_default("gthread", WORKER_CLASSES))
def test_stacks_of_a_slow_request(serve: Serve, sink: OtlpSink, worker_class: str) -> None:
    """Three while it waits, in the log at once and on its span at its end."""
    server = exporting(
        serve, sink, "avatars:application", worker_class=worker_class,
        env={"AVATAR_TELEMETRY_SLOW_STACK": "200ms", "OTEL_BSP_SCHEDULE_DELAY": "50"},
    )  # fmt: skip
    request = server.hold(NAME)

    def lines_of_it() -> list[tuple[str, ...]]:  # a stall makes other requests slow, too
        return [line for line in SLOW.findall(server.log()) if line[0] == "GET /wait"]

    lines = eventually(lambda: len(lines_of_it()) == 3 and lines_of_it(), what="the lines")
    server.let_go(NAME)
    answer = request.join()
    assert answer and answer.status == 200
    span = server_span(sink, "GET /wait")
    assert [name for name, _ in stacks(span)] == ["avatar_telemetry.slow_request"] * 3
    for name, _, trace_id, stack in lines:
        assert (name, trace_id) == ("GET /wait", span.trace_id)
        assert re.match(r"application \(avatars.py:\d+\) > wait \(avatars.py:\d+\)", stack)
    for _, stack in stacks(span):
        assert re.match(r'File "avatars.py", line \d+, in application\nFile "avatars.py"', stack)
    records = [
        record for record in sink.await_logs(3) if record.proto.trace_id.hex() == span.trace_id
    ]
    assert {record.scope for record in records} == {"avatar_telemetry.requests"}
    bodies = [record.proto.body.string_value for record in records]
    assert [SLOW.findall(body) for body in bodies] == [[line] for line in lines]
    assert NAME not in "".join(bodies) + str(span.proto) + server.log()


@pytest.mark.parametrize("worker_class", by_default("gevent", WORKER_CLASSES))
def test_a_request_that_computes(serve: Serve, sink: OtlpSink, worker_class: str) -> None:
    """Its stack is taken while it lets no other code of its thread or loop run."""
    server = exporting(
        serve, sink, "spinning:application", worker_class=worker_class,
        env={"AVATAR_TELEMETRY_SLOW_STACK": "100ms"},
    )  # fmt: skip
    assert server.get("/contact/").status == 200
    span = server_span(sink, "GET /contact/")
    name, stack = stacks(span)[0]
    assert name == "avatar_telemetry.slow_request"
    assert re.fullmatch(r'File "spinning.py", line \d+, in application', stack)
    lines = eventually(lambda: SLOW.findall(server.log()))
    assert {trace_id for _, _, trace_id, _ in lines} == {span.trace_id}


def await_abort(server: GunicornServer, worker: int) -> None:
    """Let the timeout of a worker expire, and wait until it is aborted."""
    eventually(lambda: server.expire(worker) or f"WORKER TIMEOUT (pid:{worker})" in server.log())


def time_out_waiting(server: GunicornServer) -> Background:
    """A request that waits in the thread that gunicorn aborts."""
    request = server.hold()
    await_abort(server, server.holder())
    return request


def time_out_main_thread(server: GunicornServer) -> Background:
    """A request in another thread than the one that hangs."""
    request = server.hold()
    time.sleep(KILL_DELAY)  # younger requests of other threads are left alone
    holder = server.holder()
    server.signal(signal.SIGUSR2, holder)
    await_abort(server, holder)
    eventually(lambda: ABORTED.search(server.log()))
    server.let_go()
    return request


def time_out_computing(server: GunicornServer) -> Background:
    """A request that lets no other code of its worker run."""
    (worker,) = server.workers()
    request = Background(lambda: server.get("/stats/"))
    eventually(lambda: "computing /stats/" in server.log())
    await_abort(server, worker)
    return request


TIMED_OUT: dict[str, tuple[str, str, Callable[[GunicornServer], Background]]] = {
    "sync": ("avatars:application", "GET /wait", time_out_waiting),
    "gthread": ("avatars:application", "GET /wait", time_out_main_thread),
    "gevent": ("spinning:application", "GET /stats/", time_out_computing),
}


@pytest.mark.parametrize("worker_class", by_default("gevent", WORKER_CLASSES))
def test_a_request_that_a_timeout_ends(serve: Serve, sink: OtlpSink, worker_class: str) -> None:
    """It leaves its stack in the log and on its span, and counts as a failure, with no setting."""
    application, name, begin = TIMED_OUT[worker_class]
    hang = HANG_MAIN_THREAD if worker_class == "gthread" else ""
    server = exporting(
        serve, sink, application, worker_class=worker_class, config=NO_SECOND_KILL + hang
    )
    begin(server).join()
    ((named, line),) = eventually(lambda: ABORTED.findall(server.log()))
    span = server_span(sink, name)
    assert named.split(" after ")[0] == name
    assert span.attributes["error.type"] == "SystemExit"
    ((event, stack),) = stacks(span)
    assert event == "avatar_telemetry.worker_abort"
    file, function = ("avatars", "wait") if name == "GET /wait" else ("spinning", "application")
    assert re.search(rf"\b{function} \({file}\.py:\d+\)", line)
    assert re.search(rf'File "{file}\.py", line \d+, in {function}', stack)
    assert "handle_abort" not in stack
    path = name.partition(" ")[2]
    server.await_requests(1, path=path, status_code="500")
