"""Spans from a real gunicorn: each client's trace is its own, whatever serves the requests."""

from __future__ import annotations

import re
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.gunicorn_server import NO_SECOND_KILL, GunicornServer, Serve
from tests.support.otlp_records import ReceivedSpan
from tests.support.otlp_sink import OtlpSink
from tests.support.requirements import require
from tests.support.rows import WORKER_CLASSES, by_default

DIGEST = "0123456789abcdef" * 2
CLIENTS, EACH = 6, 12
ACCESS = "access %(s)s %({avatar_telemetry.trace_id}e)s %({avatar_telemetry.request}e)s ."


def traced_server(serve: Serve, sink: OtlpSink, worker_class: str, **options: Any) -> Any:
    env = {
        "OTEL_EXPORT_ENABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url,
        "OTEL_METRICS_EXPORTER": "none", "AVATAR_TELEMETRY_TRUST_INCOMING": "continue",
    }  # fmt: skip
    if worker_class == "gevent":
        require("gevent")
    return serve("traced:application", worker_class=worker_class, env=env, **options)


def identity(number: int) -> tuple[str, str]:
    """The trace and the span that client request number so-and-so comes from."""
    return f"{0xABC000 + number:032x}", f"{0xDEF000 + number:016x}"


def ask(server: GunicornServer, number: int) -> None:
    trace_id, span_id = identity(number)
    headers = {"traceparent": f"00-{trace_id}-{span_id}-01"}
    answer = server.get(f"/avatar/{DIGEST}?{number}", headers)
    assert (answer.status, answer.body) == (200, b"xx")


def all_spans(server: GunicornServer, sink: OtlpSink) -> list[ReceivedSpan]:
    """Every span that came, once the server has ended."""
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    return sink.spans()


@pytest.mark.parametrize("worker_class", by_default("gevent", WORKER_CLASSES))
def test_no_trace_is_mixed_with_another(serve: Serve, sink: OtlpSink, worker_class: str) -> None:
    """Requests at the same time have each their own trace, with all spans that they make."""
    server = traced_server(serve, sink, worker_class, workers=2)
    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(lambda number: ask(server, number), range(CLIENTS * EACH)))
    traces: dict[str, list[ReceivedSpan]] = {}
    for span in all_spans(server, sink):
        traces.setdefault(span.trace_id, []).append(span)
    assert len(traces) == CLIENTS * EACH
    for number in range(CLIENTS * EACH):
        trace_id, span_id = identity(number)
        assert_own(traces[trace_id], span_id, str(number))


def assert_own(spans: list[ReceivedSpan], caller: str, number: str) -> None:
    """One server span under the caller, one operation in it, the application's in that."""
    (server,) = [span for span in spans if span.kind == "SERVER"]
    assert (server.parent_id, server.name) == (caller, "GET /avatar/{digest}")
    (operation,) = [span for span in spans if span.name == "avatar.serve_png"]
    assert operation.parent_id == server.span_id
    inner = [span for span in spans if span.scope == "app"]
    assert sorted(span.name for span in inner) == ["body", "body", "call"]
    assert {span.attributes["number"] for span in inner} == {number}
    assert {span.parent_id for span in inner} == {operation.span_id}
    assert len(spans) == 5


@pytest.mark.parametrize("worker_class", by_default("sync", WORKER_CLASSES))
def test_requests_without_a_caller(serve: Serve, sink: OtlpSink, worker_class: str) -> None:
    """On one connection, one after the other, each request begins a trace of its own."""
    server = traced_server(serve, sink, worker_class, workers=1)
    connection = server.connect()
    for path in ("/contact/", "/boom", f"/avatar/{DIGEST}", "/contact/"):
        connection.request("GET", path)
        assert connection.getresponse().read()
    connection.close()
    servers = [span for span in all_spans(server, sink) if span.kind == "SERVER"]
    assert [span.parent_id for span in servers] == [""] * 4
    assert len({span.trace_id for span in servers}) == 4
    failed = [span for span in servers if "error.type" in span.attributes]
    assert [span.attributes["error.type"] for span in failed] == ["ValueError"]
    assert [event.name for event in failed[0].proto.events] == ["exception"]


def test_a_timed_out_worker_tells_what_it_did(serve: Serve, sink: OtlpSink) -> None:
    """gunicorn's time-out ends the application by SystemExit: its span arrives, as an error."""
    server = serve(
        "avatars:application", workers=1, config=NO_SECOND_KILL,
        env={"OTEL_EXPORT_ENABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url,
             "OTEL_METRICS_EXPORTER": "none"},
    )  # fmt: skip
    request = server.hold()
    server.expire(server.holder())
    request.join()
    span = sink.await_spans(1)[0]
    assert (span.name, span.attributes["error.type"]) == ("GET /wait", "SystemExit")


@pytest.mark.parametrize("worker_class", by_default("gthread", WORKER_CLASSES))
def test_access_log(serve: Serve, sink: OtlpSink, worker_class: str) -> None:
    """An access log shows the trace of a request and what became of it."""
    server = traced_server(
        serve, sink, worker_class, workers=1, accesslog="-", access_log_format=ACCESS
    )
    ask(server, 1)
    server.get(f"/gravatarproxy/{DIGEST}")
    assert server.get(f"/avatar/{'a' * 32}?file").body == b"picture"
    server.get("/contact/")
    spans = all_spans(server, sink)
    traces = {span.name: span.trace_id for span in spans if span.kind == "SERVER"}
    lines = re.findall(r"access (\d+) (\S+) (.+) \.", server.log())
    assert ("200", identity(1)[0], "avatar.serve_png") in lines
    proxied = ("200", traces["GET /gravatarproxy/{digest}"], "avatar.gravatar_proxy")
    assert proxied in lines
    assert ("200", traces["GET /contact/"], "GET /contact/") in lines
    # A file ends after its line.
    assert ("200", traces["GET /avatar/{digest}"], "avatar.serve") in lines
