"""Requests that are kept or dropped at their end: whole, with spans and log records."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

from avatar_telemetry._base.guard import Guard
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.http.privacy import Privacy
from avatar_telemetry.logs.export import Encoder, ExportHandler
from avatar_telemetry.testing import recording
from avatar_telemetry.tracing.keep import UNMATCHED, Decision
from avatar_telemetry.tracing.span import MAX_ENDED, RecordedSpan, RootSpan
from avatar_telemetry.tracing.writer import SpanWriter
from avatar_telemetry.wsgi.request import CURRENT
from tests.support.frames import Frames, log_record
from tests.support.otlp_records import plain
from tests.support.recorder import DIGEST, Recorder
from tests.support.wsgi_client import FORM, call, finish, start

AVATAR = f"/avatar/{DIGEST}"
LOGGER = logging.getLogger("tests.kept")
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0"
KEPT, DROPPED = "avatar_telemetry_requests_kept_total", "avatar_telemetry_requests_dropped_total"


Serving = Callable[..., "Side"]


class Side:
    """Serves requests with rules, and keeps what is exported of them."""

    def __init__(self, folder: Path, keep: str, **environ: str) -> None:
        self.frames = Frames()
        environ = {"OTEL_EXPORT_ENABLED": "true", "AVATAR_TELEMETRY_KEEP": keep, **environ}
        settings = Settings.from_env(environ)
        self.sink = SpanWriter(self.frames)
        self.recorder = Recorder(folder, settings=settings, traced=True, sink=self.sink)
        assert self.recorder.provider is not None
        self.provider = self.recorder.provider

    def serve(
        self, work: Callable[[], object] = bool, status: str = "200 OK", **environ: Any
    ) -> Any:
        """Serve one request, in which the work is done."""

        def application(environ: Any, start_response: Any) -> list[bytes]:
            work()
            start_response(status, [("Content-Type", "image/png")])
            return [b"image"]

        return call(self.recorder.wrap(application), **{"path": AVATAR, **environ})

    @property
    def spans(self) -> list[Span]:
        return self.frames.spans()

    @property
    def counts(self) -> dict[str, float]:
        """The requests that were counted, by rule or reason."""
        samples = self.recorder.samples()
        return {
            dict(labels).get("rule") or dict(labels)["reason"]: value
            for (name, labels), value in samples.items()
            if name in (KEPT, DROPPED)
        }

    def assert_whole(self, rule: str, state: str = "ot=th:0", number: int = 2) -> None:
        """One trace has arrived, which its server span explains."""
        assert len(self.spans) == number
        assert len({span.trace_id for span in self.spans}) == 1
        assert {span.trace_state for span in self.spans} == {state}
        kept_by = [plain(span.attributes).get("avatar_telemetry.kept_by") for span in self.spans]
        kinds = [span.kind == Span.SPAN_KIND_SERVER for span in self.spans]
        assert kept_by == [rule if is_server else None for is_server in kinds]
        assert sum(kinds) == 1
        assert self.counts == {rule: 1.0}


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    """Makes sides, each in the same folder, and closes their files."""
    made: list[Side] = []

    def make(keep: str, **environ: str) -> Side:
        made.append(Side(tmp_path, keep, **environ))
        return made[-1]

    yield make
    for side in made:
        side.recorder.book.detach()


@pytest.fixture
def logs() -> Iterator[list[bytes]]:
    """The payloads of the log records that were written."""
    payloads: list[bytes] = []
    before = logging.getLogger().handlers[:]
    handler = ExportHandler(
        Encoder(Privacy("balanced", b"unused")).encode, payloads.append, Guard()
    )
    handler.attach()
    yield payloads
    handler.detach()
    logging.getLogger().handlers[:] = before


def bodies(payloads: list[bytes]) -> list[str]:
    return [log_record(payload)[1].body.string_value for payload in payloads]


def start_span(name: str) -> Any:
    return trace.get_current_span()._tracer.start_span(name)  # type: ignore[attr-defined]


def set_attribute() -> None:
    request = CURRENT.get()
    assert request is not None
    request.set_attribute("mine", 1)


UNCHANGED, CHANGED = pytest.param(bool, id="joined"), pytest.param(set_attribute, id="objects")


@pytest.mark.parametrize("work", [UNCHANGED, CHANGED])
def test_a_request_that_matches_no_rule_is_dropped(serving: Serving, work: Any) -> None:
    """It is counted, in the metrics of requests as well, and nothing of it is exported."""
    side = serving("errors")
    side.serve(work)
    assert side.spans == []
    assert side.counts == {"unmatched": 1.0}
    assert side.recorder.value("ivatar_requests_total") == 1
    assert side.recorder.value("avatar_telemetry_internal_errors_total") == 0


@pytest.mark.parametrize("work", [UNCHANGED, CHANGED])
def test_a_failed_request_is_whole(serving: Serving, work: Any) -> None:
    """Its spans have the rule and the share, joined from blocks or not."""
    side = serving("errors")
    side.serve(work, "503 No")
    side.assert_whole("errors")


def test_a_page_is_kept_by_its_server_span(serving: Serving) -> None:
    """A request without an operation span is one span."""
    side = serving("errors")
    side.serve(status="500 Oh", path="/contact/")
    side.serve(path="/contact/")
    assert len(side.spans) == 1
    assert side.counts == {"errors": 1.0, "unmatched": 1.0}


def test_an_exception_is_an_error(serving: Serving) -> None:
    """One that reaches the server, with its event and its log records."""
    side = serving("errors")
    with pytest.raises(ZeroDivisionError):
        side.serve(lambda: 1 // 0)
    side.assert_whole("errors")
    assert [event.name for span in side.spans for event in span.events] == ["exception"]


def test_a_slow_request_is_kept(serving: Serving) -> None:
    """Its duration is that until the end of its body."""
    side = serving("slow:/avatar/{digest}:5ms")

    def application(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"a"
        time.sleep(0.01)
        yield b"b"

    call(side.recorder.wrap(application), path=AVATAR)
    side.assert_whole("slow")


@pytest.mark.parametrize(
    ("location", "counts"),
    [
        pytest.param("/accounts/login/", {"auth_failures": 1.0}, id="failure"),
        pytest.param("/accounts/profile/", {"unmatched": 1.0}, id="success"),
    ],
)
def test_a_failed_login_is_kept(serving: Serving, location: str, counts: dict[str, float]) -> None:
    """The profile's rule decides on the success of an attempt."""
    side = serving("auth_failures")

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("302 Found", [("Location", location)])
        return []

    call(side.recorder.wrap(application), path="/accounts/login/", method="POST")
    assert side.counts == counts


def test_a_failed_upload_is_no_failed_login(serving: Serving) -> None:
    """Only attempts to authenticate match the rule."""
    side = serving("auth_failures")
    kind = "multipart/form-data; boundary=x"

    def application(environ: Any, start_response: Any) -> list[bytes]:
        environ["wsgi.input"].read(len(FORM))
        start_response("200 OK", [])
        return []

    wrapped = side.recorder.wrap(application)
    call(wrapped, path="/accounts/upload_photo/", method="POST", body=FORM, CONTENT_TYPE=kind)
    assert side.recorder.value("ivatar_file_uploads_total", success="false") == 1
    assert side.counts == {"unmatched": 1.0}


def test_each_status_of_a_route_is_new_once(serving: Serving) -> None:
    """Rare requests are kept, common ones are not."""
    side = serving("new_routes")
    for status in ("200 OK", "404 No", "200 OK", "404 No", "200 OK"):
        side.serve(status=status)
    assert side.counts == {"new_routes": 2.0, "unmatched": 3.0}


def test_the_ratio_is_in_the_tracestate(serving: Serving) -> None:
    """Of a request that the ratio keeps, each span has the threshold."""
    side = serving("ratio:1")
    side.serve()
    side.assert_whole("ratio")


def test_spans_of_libraries_share_its_fate(serving: Serving) -> None:
    """Those within the request, and those that end after it."""
    side, late = serving("errors"), []

    def work() -> None:
        start_span("library").end()
        late.append(start_span("late"))

    side.serve(work)
    late.pop().end()
    assert side.spans == []
    side.serve(work, "500 Oh")
    late.pop().end()
    side_names = [name for names in side.frames.names() for name in names]
    assert sorted(side_names) == sorted([
        "avatar.refuse", "GET /avatar/{digest}", "library", "late",
    ])  # fmt: skip
    assert {span.trace_state for span in side.spans} == {"ot=th:0"}


def test_a_span_that_begins_after_its_request_shares_its_fate(serving: Serving) -> None:
    """The server span did not exist when the request was dropped."""
    side, spans = serving("errors"), []
    for status in ("200 OK", "500 Oh"):
        side.serve(lambda: spans.append(trace.get_current_span()), status)
        before = len(side.spans)
        context = trace.set_span_in_context(spans.pop())
        side.provider.get_tracer("late").start_span("late", context).end()
        assert len(side.spans) - before == (status == "500 Oh")


def test_a_request_with_many_spans_is_kept(serving: Serving) -> None:
    """Spans of it are written before its outcome is known; it is whole, whatever that is."""
    side = serving("errors")
    side.serve(lambda: [start_span("many").end() for _ in range(MAX_ENDED)])
    side.assert_whole("large", number=MAX_ENDED + 2)


def test_log_records_share_its_fate(serving: Serving, logs: list[bytes]) -> None:
    """They wait for the decision; those outside of a request are written at once."""
    side, late = serving("errors"), []

    def work() -> None:
        LOGGER.warning("within")
        assert bodies(logs) == []
        late.append(trace.set_span_in_context(trace.get_current_span()))

    side.serve(work)
    with trace.use_span(trace.get_current_span(late.pop())):
        LOGGER.warning("late")
    assert bodies(logs) == []
    LOGGER.warning("outside")
    assert bodies(logs) == ["outside"]
    logs.clear()
    side.serve(work, "500 Oh")
    assert bodies(logs) == ["within"]
    with trace.use_span(trace.get_current_span(late.pop())):
        LOGGER.warning("late")
    assert bodies(logs) == ["within", "late"]
    assert log_record(logs[0])[1].trace_id == side.spans[0].trace_id


def test_many_log_records_keep_their_request(serving: Serving, logs: list[bytes]) -> None:
    """A bounded number waits; then the request is kept, and they are written in their order."""
    side = serving("errors")
    side.serve(lambda: [LOGGER.warning("%d", number) for number in range(MAX_ENDED + 2)])
    assert bodies(logs) == [str(number) for number in range(MAX_ENDED + 2)]
    side.assert_whole("large")


@pytest.mark.parametrize("environ", [{}, {"OTEL_TRACES_SAMPLER": "always_off"}])
def test_log_records_do_not_wait_without_a_decision(
    serving: Serving, logs: list[bytes], environ: dict[str, str]
) -> None:
    """Without rules, and in a request that is not sampled, they are written at once."""
    side = serving("errors" if environ else "", **environ)

    def work() -> None:
        LOGGER.warning("within")
        assert bodies(logs) == ["within"]

    assert side.serve(work).status == "200 OK"
    assert side.counts == {}


@pytest.mark.parametrize(
    ("sampled", "state", "counts", "exported"),
    [
        pytest.param(1, "ot=th:8", {"parent": 1.0}, "ot=th:8", id="sampled"),
        pytest.param(1, "vendor=anna,ot=rv:anna;th:c", {"parent": 1.0}, "ot=th:c", id="personal"),
        pytest.param(1, "", {"parent": 1.0}, "", id="without a share"),
        pytest.param(0, "ot=th:8", {}, None, id="not sampled"),
    ],
)
def test_a_trusted_caller_decides(
    serving: Serving, sampled: int, state: str, counts: dict[str, float], exported: str | None
) -> None:
    """A trace that it has sampled is whole, also here; one that it has not is not recorded."""
    side = serving("errors", AVATAR_TELEMETRY_TRUST_INCOMING="continue")
    headers = {"HTTP_TRACEPARENT": PARENT + str(sampled), "HTTP_TRACESTATE": state}
    side.serve(**headers)
    assert side.counts == counts
    assert {span.trace_state for span in side.spans} == ({exported} if counts else set())


def test_another_caller_does_not_decide(serving: Serving) -> None:
    """A caller who is not trusted forces nothing to be kept."""
    side = serving("errors")
    side.serve(HTTP_TRACEPARENT=PARENT + "1", HTTP_TRACESTATE="ot=th:8")
    assert side.counts == {"unmatched": 1.0}


def test_the_head_decides_before(serving: Serving) -> None:
    """A request that is not sampled is neither kept nor counted, whatever its outcome is."""
    side = serving("errors,ratio:1", OTEL_TRACES_SAMPLER="traceidratio",
                OTEL_TRACES_SAMPLER_ARG="0")  # fmt: skip
    side.serve(status="500 Oh")
    assert (side.spans, side.counts) == ([], {})


def test_both_ratios_are_in_the_tracestate(serving: Serving) -> None:
    """A failed request stands for those that the sampler has not sampled."""
    side = serving("errors,ratio:0.5", OTEL_TRACES_SAMPLER="traceidratio",
                OTEL_TRACES_SAMPLER_ARG="0.25")  # fmt: skip
    for _ in range(64):
        side.serve(status="500 Oh")
    assert side.spans
    for span in side.spans:
        threshold, randomness = span.trace_state.removeprefix("ot=th:").split(";rv:")
        assert threshold == "c"
        assert int(randomness, 16) >= 0xC0000000000000


def test_other_services_see_the_decision_of_the_head(serving: Serving) -> None:
    """The context of an outgoing call is sampled, though the request is dropped later."""
    side, seen = serving("errors"), []
    side.serve(lambda: seen.append(trace.get_current_span().get_span_context()))
    assert seen[0].trace_flags.sampled
    assert not seen[0].trace_state
    assert side.counts == {"unmatched": 1.0}


def test_processors_see_every_span(serving: Serving) -> None:
    """A processor of the application is notified of dropped requests, too, with all attributes."""
    ended: list[ReadableSpan] = []

    class Processor(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            ended.append(span)

    side = serving("errors")
    side.provider.add_span_processor(Processor())
    side.serve()
    assert side.spans == []
    assert [span.name for span in ended] == ["avatar.serve_png", "GET /avatar/{digest}"]
    assert (ended[1].attributes or {})["http.status_code"] == 200


def test_spans_outside_of_requests_are_exported(serving: Serving) -> None:
    """No rule concerns them."""
    side = serving("errors")
    side.provider.get_tracer("job").start_span("alone").end()
    assert side.frames.names() == [["alone"]]
    assert side.spans[0].trace_state == ""


def test_a_forked_child_exports_its_spans(serving: Serving, logs: list[bytes]) -> None:
    """It does not know the decision of its parent; nothing of it is lost."""
    side = serving("errors")

    def work() -> None:
        span = start_span("child")
        side.sink.process = object()
        LOGGER.warning("child")
        assert bodies(logs) == ["child"]
        span.end()

    side.serve(work)
    assert side.frames.names() == [["child"]]


def test_a_decision_is_made_once(serving: Serving) -> None:
    """A thread that fills the request with spans while it ends changes nothing of the decision."""
    side, held = serving("errors"), []
    root = side.provider.get_tracer("x").start_root("GET", trace.SpanKind.SERVER, 1)
    assert isinstance(root, RootSpan)
    context = trace.set_span_in_context(root)
    for _ in range(MAX_ENDED):
        side.provider.get_tracer("x").start_span("many", context).end()
    assert root.settle(UNMATCHED).reason == "large"
    dropped = side.provider.get_tracer("x").start_root("GET", trace.SpanKind.SERVER, 1)
    assert isinstance(dropped, RootSpan)
    assert dropped.hold(lambda: held.append("early"))
    dropped.settle(UNMATCHED)
    assert dropped.hold(lambda: held.append("late"))
    for _ in range(2 * MAX_ENDED):
        side.provider.get_tracer("x").start_span("late", trace.set_span_in_context(dropped)).end()
    assert held == []
    assert len(side.spans) == MAX_ENDED


def test_threads_of_a_dropped_request_export_nothing(serving: Serving) -> None:
    """Spans that threads end while the request ends are all dropped, or all kept."""
    side = serving("errors")
    threads: list[threading.Thread] = []

    def end_spans(parent: trace.Span) -> None:
        for _ in range(30):
            context = trace.set_span_in_context(parent)
            side.provider.get_tracer("x").start_span("of a thread", context).end()

    def work() -> None:
        span = trace.get_current_span()
        threads.append(threading.Thread(target=end_spans, args=(span,)))
        threads[-1].start()

    for _ in range(20):
        side.serve(work)
    for thread in threads:
        thread.join()
    assert side.spans == []
    assert side.counts == {"unmatched": 20.0}


def test_a_session_over_a_switched_protocol_is_not_slow(serving: Serving) -> None:
    """The duration of a WebSocket is not that of a response."""
    side = serving("slow:1ms")

    def application(environ: Any, start_response: Any) -> list[bytes]:
        request = CURRENT.get()
        assert request is not None
        request.switch()
        time.sleep(0.005)
        return []

    exchange = start(side.recorder.wrap(application), path="/ws/")
    finish(exchange)
    assert side.counts == {"unmatched": 1.0}


def test_recording_into_memory_uses_the_rules() -> None:
    """A test of an application sees the spans that a server would export."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("500 Oh" if environ["QUERY_STRING"] else "200 OK", [])
        return []

    with recording(environ={"AVATAR_TELEMETRY_KEEP": "errors, budget:1/s"}) as recorded:
        wrapped = recorded.wrap(application)
        call(wrapped, path=AVATAR)
        assert recorded.spans() == ()
        call(wrapped, path=AVATAR, query="fail")
        spans = recorded.spans()
    server = spans[-1]
    assert isinstance(server, RecordedSpan)
    assert server.attributes["avatar_telemetry.kept_by"] == "errors"


def test_no_lock_is_held_where_a_log_handler_runs(serving: Serving) -> None:
    """A handler waits for its own lock, whose holder may wait for a lock of the spans."""
    side, free = serving("errors"), []

    class Probe(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            for lock in (side.provider.lock, side.provider.root_lock):
                thread = threading.Thread(target=lambda lock=lock: free.append(try_lock(lock)))
                thread.start()
                thread.join()

    def try_lock(lock: Any) -> bool:
        acquired = bool(lock.acquire(blocking=False))
        if acquired:
            lock.release()
        return acquired

    probe = Probe()
    logging.getLogger().addHandler(probe)
    try:
        side.serve(lambda: trace.get_current_span().set_attribute("x", object()))  # type: ignore[arg-type]
    finally:
        logging.getLogger().removeHandler(probe)
    assert free == [True, True]


@pytest.mark.parametrize("remote", [True, False])
def test_the_tracestate_of_an_outer_span_is_not_passed_on(serving: Serving, remote: bool) -> None:
    """A sampled span of an outer middleware decides, but its tracestate may be of any client."""
    side = serving("errors")
    state = TraceState([("ot", "th:8;th:c;rv:deadbeefdeadbe")])
    outer = SpanContext(1, 2, remote, TraceFlags(TraceFlags.SAMPLED), state)
    with trace.use_span(NonRecordingSpan(outer)):
        side.serve()
    assert side.counts == {"parent": 1.0}
    expected = "ot=th:c;rv:deadbeefdeadbe" if remote else ""
    assert {span.trace_state for span in side.spans} == {expected}


def test_a_forked_child_leaves_the_log_records_to_its_parent(
    serving: Serving, logs: list[bytes]
) -> None:
    """A request that ends in both is written once."""
    side = serving("errors")

    def work() -> None:
        LOGGER.warning("of the parent")
        root = trace.get_current_span()._root  # type: ignore[attr-defined]
        process, side.sink.process = side.sink.process, object()
        held = list(root._held)
        root.settle(Decision(True, "errors"))
        assert bodies(logs) == []
        side.sink.process, root._held, root.decision = process, held, None

    side.serve(work, "500 Oh")
    assert bodies(logs) == ["of the parent"]
