"""Exemplars of requests: those whose spans were written, with the id of their server span."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import SpanKind, get_current_span

from avatar_telemetry.config.settings import Settings
from avatar_telemetry.tracing.span import MAX_ENDED
from avatar_telemetry.tracing.writer import KeptSpans, SpanWriter
from avatar_telemetry.wsgi.request import CURRENT
from tests.support.frames import Frames
from tests.support.recorder import DIGEST, Recorder
from tests.support.samples import exemplars_in
from tests.support.wsgi_client import FORM, call

AVATAR = f"/avatar/{DIGEST}"
FILTER = "OTEL_METRICS_EXEMPLAR_FILTER"
REQUESTS = {"ivatar_request_duration_seconds_bucket", "ivatar_request_first_byte_seconds_bucket"}
FAILURES = {"ivatar_requests_total", "ivatar_avatar_requests_total"}
CALLS = {
    "ivatar_external_avatar_requests_total", "ivatar_external_avatar_request_seconds_bucket"
}  # fmt: skip


class Full(Frames):
    """A ring without space."""

    def put(self, kind: int, items: int, payload: bytes) -> bool:
        return False


def app(status: str = "200 OK", report: Any = lambda request: None) -> Any:
    """An application that responds with a status, after the probes have reported."""

    def application(environ: Any, start_response: Any) -> Any:
        report(CURRENT.get())
        environ["wsgi.input"].read()
        start_response(status, [("Content-Type", "image/png")])
        return [b"png"]

    return application


def fetched(request: Any) -> None:
    """A call that succeeded and one that failed, in different buckets."""
    request.outside_call("secure.gravatar.com", 0.02, success=True)
    request.outside_call("secure.gravatar.com", 3.0, success=False)


def named(folder: Path) -> set[str]:
    """The samples that have an exemplar."""
    return {name for name, _ in exemplars_in(folder)}


def ids(folder: Path) -> set[tuple[str, str]]:
    """The trace and the span of all exemplars."""
    return {
        (labels["trace_id"], labels["span_id"])
        for labels in (dict(each.labels) for each in exemplars_in(folder).values())
    }


def ids_of_server_span(recorder: Recorder) -> tuple[str, str]:
    context = recorder.server.get_span_context()
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"


def record(
    folder: Path, *requests: dict[str, Any], application: Any = None, target: Frames | None = None,
    **environ: str,
) -> Recorder:  # fmt: skip
    """Requests of an application whose spans are written into frames."""
    sink = None if target is None else SpanWriter(target)
    recorder = Recorder(folder, settings=Settings.from_env(environ), traced=True, sink=sink)
    for request in requests:
        call(recorder.wrap(application or app()), **request)
    recorder.book.detach()
    return recorder


@pytest.mark.parametrize(
    ("request_", "application", "expected"),
    [
        pytest.param({"path": "/"}, app(), REQUESTS, id="page"),
        pytest.param({"path": AVATAR}, app("503 Busy"), REQUESTS | FAILURES, id="failure"),
        pytest.param({"path": AVATAR}, app(report=fetched), REQUESTS | CALLS, id="outside call"),
        pytest.param(
            {"path": AVATAR},
            app(report=lambda request: (request.cache_lookup("django:filesystem", hit=False),
                                         request.generated("pagan:Avatar"))),
            REQUESTS | {"ivatar_avatar_generation_seconds_bucket"}, id="generated",
        ),
        pytest.param(
            {"path": "/accounts/login/", "method": "POST"}, app(),
            REQUESTS | {"ivatar_auth_attempts_total"}, id="failed login",
        ),
        pytest.param(
            {"path": "/accounts/logout/"}, app(), REQUESTS, id="successful logout",
        ),
        pytest.param(
            {"path": "/accounts/upload_photo/", "method": "POST", "body": FORM,
             "CONTENT_TYPE": "multipart/form-data; boundary=x"},
            app(), REQUESTS | {"ivatar_file_upload_size_bytes_bucket",
                                  "ivatar_file_uploads_total"}, id="failed upload",
        ),
    ],
)  # fmt: skip
def test_a_recorded_request_is_named(
    tmp_path: Path, request_: dict[str, Any], application: Any, expected: set[str]
) -> None:
    """Each of its buckets and failures has its trace and its server span."""
    recorder = record(tmp_path, request_, application=application)
    assert named(tmp_path) == expected
    assert ids(tmp_path) == {ids_of_server_span(recorder)}


def test_buckets_of_calls(tmp_path: Path) -> None:
    """Each call is in its own bucket with its own seconds, and the failed one in the counter."""
    record(tmp_path, {"path": AVATAR}, application=app(report=fetched))
    found = {
        (name, dict(labels).get("le"), dict(labels).get("success")): exemplar.value
        for (name, labels), exemplar in exemplars_in(tmp_path).items()
        if name in CALLS
    }
    assert found == {
        ("ivatar_external_avatar_request_seconds_bucket", "0.025", None): 0.02,
        ("ivatar_external_avatar_request_seconds_bucket", "5.0", None): 3.0,
        ("ivatar_external_avatar_requests_total", None, "false"): 1.0,
    }


@pytest.mark.parametrize("path", ["/", AVATAR])
def test_joined_spans_are_named(tmp_path: Path, path: str) -> None:
    """The fast path of spans that nothing has changed names the same trace and span."""
    frames = Frames()
    record(tmp_path, {"path": path}, target=frames)
    (server,) = (span for span in frames.spans() if span.kind == SpanKind.SERVER.value + 1)
    assert ids(tmp_path) == {(server.trace_id.hex(), server.span_id.hex())}
    assert named(tmp_path) == REQUESTS


@pytest.mark.parametrize("filter_", ["trace_based", "always_on", "always_off"])
@pytest.mark.parametrize("application", [app(), app("500 Oh", report=fetched)])
def test_spans_that_were_dropped(tmp_path: Path, filter_: str, application: Any) -> None:
    """A trace that cannot be found is named only if the operator wants all."""
    frames = Full()
    target = {"target": frames, FILTER: filter_}
    record(tmp_path, {"path": AVATAR}, application=application, **target)  # type: ignore[arg-type]
    assert not frames.spans()
    assert bool(named(tmp_path)) == (filter_ == "always_on")


@pytest.mark.parametrize("filter_", ["trace_based", "always_on", "always_off"])
def test_requests_that_are_not_sampled(tmp_path: Path, filter_: str) -> None:
    """They have a trace id for other services, and no trace in the store."""
    sampler = {"OTEL_TRACES_SAMPLER": "always_off", FILTER: filter_}
    fails = app("500 Oh", report=fetched)
    recorder = record(tmp_path, {"path": AVATAR}, application=fails, **sampler)
    assert not recorder.spans
    expected = REQUESTS | CALLS | FAILURES if filter_ == "always_on" else set()
    assert named(tmp_path) == expected


@pytest.mark.parametrize("filter_", ["trace_based", "always_on", "always_off"])
def test_requests_without_a_trace_id(tmp_path: Path, filter_: str) -> None:
    """A request of an excluded URL has no id that an exemplar could have."""
    excluded = {"OTEL_PYTHON_WSGI_EXCLUDED_URLS": ".", FILTER: filter_}
    record(tmp_path, {"path": AVATAR}, application=app(report=fetched), **excluded)
    assert not named(tmp_path)


def test_off(tmp_path: Path) -> None:
    """Nothing is named, and no file is made."""
    recorder = record(tmp_path, {"path": AVATAR}, **{FILTER: "always_off"})
    assert recorder.server
    assert not named(tmp_path)
    assert not list(tmp_path.glob("*.exemplars"))


def test_without_spans(recorder: Recorder) -> None:
    """Where spans are not recorded, there is nothing to name, and no file."""
    call(recorder.wrap(app("500 Oh", report=fetched)), path=AVATAR)
    assert not named(recorder.folder)
    assert not list(recorder.folder.glob("*.exemplars"))


class Failing(SpanProcessor):
    """A processor that raises at the end of each span."""

    def on_end(self, span: Any) -> None:
        raise ValueError("a fault of the application")


def test_a_processor_of_the_application(tmp_path: Path) -> None:
    """It changes nothing of the exemplars, even where it raises."""
    recorder = Recorder(tmp_path, traced=True, sink=(kept := KeptSpans()))
    assert recorder.provider is not None
    recorder.provider.add_span_processor(Failing())
    call(recorder.wrap(app()), path=AVATAR)
    recorder.book.detach()
    (server,) = (span for span in kept.spans if span.kind is SpanKind.SERVER)
    context = server.get_span_context()
    assert ids(tmp_path) == {(f"{context.trace_id:032x}", f"{context.span_id:016x}")}


def test_many_measurements(tmp_path: Path) -> None:
    """A request that calls very often keeps its last calls, and no more memory than for these."""
    lengths = []

    def report(request: Any) -> None:
        for number in range(1000):
            request.outside_call("secure.gravatar.com", 0.0005 if number < 500 else 0.2,
                                 success=True)  # fmt: skip
        lengths.append(len(request.measurements))

    record(tmp_path, {"path": AVATAR}, application=app(report=report))
    bounds = {dict(labels)["le"] for name, labels in exemplars_in(tmp_path) if name in CALLS}
    assert bounds == {"0.25"}
    assert lengths == [32]


@pytest.mark.parametrize("number", [MAX_ENDED - 2, MAX_ENDED - 1, MAX_ENDED])
def test_a_request_with_many_spans(tmp_path: Path, number: int) -> None:
    """Its server span ends last, whether others were written before or not."""

    def application(environ: Any, start_response: Any) -> Any:
        tracer = get_current_span()._tracer  # type: ignore[attr-defined]
        for _ in range(number):
            tracer.start_span("many").end()
        CURRENT.get().set_attribute("mine", 1)  # type: ignore[union-attr]
        return app()(environ, start_response)

    frames = Frames()
    record(tmp_path, {"path": AVATAR}, application=application, target=frames)
    (server,) = (span for span in frames.spans() if span.kind == SpanKind.SERVER.value + 1)
    assert ids(tmp_path) == {(server.trace_id.hex(), server.span_id.hex())}
