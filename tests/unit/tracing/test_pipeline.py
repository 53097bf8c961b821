"""The tracing of a worker, put together: limits, where spans go, what is published, forks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import propagate
from opentelemetry import trace as trace_api
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.trace import SpanKind

from avatar_telemetry.config.settings import Settings
from avatar_telemetry.guard import Guard
from avatar_telemetry.profiles.ivatar import PROFILE
from avatar_telemetry.tracing.pipeline import Pipeline
from tests.support.waiting import DEADLINE


class Gathering:
    """A sender that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.renewed = 0
        self.closed = 0

    def send(self, spans: Any) -> int:
        self.sent.extend(spans)
        return len(spans)

    def hurry(self) -> None: ...

    def renew(self) -> None:
        self.renewed += 1

    def close(self) -> None:
        self.closed += 1


class Pipelines:
    """Makes pipelines, with a sender that is looked at, and stops them at the end."""

    def __init__(self) -> None:
        self.made: list[Pipeline] = []
        self.counts: list[tuple[str, int]] = []
        self.sender = Gathering()

    def __call__(self, **environ: str) -> Pipeline:
        settings = Settings.from_env({"OTEL_EXPORT_ENABLED": "true", **environ})
        pipeline = Pipeline(settings, Resource({"process.pid": 1}), b"key", Guard(),
                            lambda *count: self.counts.append(count))  # fmt: skip
        pipeline.queue._senders = [self.sender]  # type: ignore[list-item]
        self.made.append(pipeline)
        return pipeline


@pytest.fixture
def pipelines() -> Iterator[Pipelines]:
    made = Pipelines()
    yield made
    for pipeline in made.made:
        pipeline.stop(time.monotonic() + DEADLINE)


def span(pipeline: Pipeline, name: str = "name") -> None:
    pipeline.provider.get_tracer("tests").start_span(name).end()


def test_what_is_waiting_is_sent_at_the_end(pipelines: Pipelines) -> None:
    """A worker that ends sends the spans of its last moments, and closes its connections."""
    pipeline = pipelines(OTEL_BSP_SCHEDULE_DELAY="600000")
    span(pipeline, "last")
    pipeline.stop(time.monotonic() + DEADLINE)
    assert [each.name for each in pipelines.sender.sent] == ["last"]
    assert pipelines.counts == [("exported", 1)]
    assert pipelines.sender.closed == 1


def test_without_an_exporter_nothing_waits(pipelines: Pipelines) -> None:
    """OTEL_TRACES_EXPORTER=none: spans are made for processors and context, and go nowhere."""
    pipeline = pipelines(OTEL_TRACES_EXPORTER="none")
    span(pipeline)
    assert pipeline.queue._thread is None
    pipeline.stop(time.monotonic() + DEADLINE)
    assert (pipelines.sender.sent, pipelines.counts) == ([], [])


def test_a_child_sends_none_of_its_parents_spans(pipelines: Pipelines) -> None:
    """After a fork the queue is empty, connections and ids are new, the pid is the child's."""
    pipeline = pipelines(OTEL_BSP_SCHEDULE_DELAY="600000", OTEL_BSP_MAX_QUEUE_SIZE="10")
    span(pipeline, "of the parent")
    thread, wake = pipeline.queue._thread, pipeline.queue._wake
    pipeline.renew()
    assert pipelines.sender.renewed == 1
    span(pipeline, "of the child")
    pipeline.stop(time.monotonic() + DEADLINE)
    assert [each.name for each in pipelines.sender.sent] == ["of the child"]
    assert thread is not None
    wake.set()  # in a real child the parent's thread is not there
    thread.join()


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        pytest.param({}, (128, 128, 128, 128, None, None), id="default"),
        pytest.param({"OTEL_ATTRIBUTE_COUNT_LIMIT": "5"}, (5, 5, 5, 5, None, None), id="shared"),
        pytest.param(
            {"OTEL_ATTRIBUTE_COUNT_LIMIT": "5", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "9"},
            (5, 9, 5, 5, None, None), id="own",
        ),
        pytest.param(
            {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "0", "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": "0",
             "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": "0"},
            (128, 0, 0, 0, None, None), id="zero is a limit",
        ),
        pytest.param(
            {"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "7"}, (128, 128, 128, 128, 7, 7), id="length",
        ),
        pytest.param(
            {"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "7",
             "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "3"},
            (128, 128, 128, 128, 7, 3), id="own length",
        ),
    ],
)  # fmt: skip
def test_limits(pipelines: Pipelines, environ: dict[str, str], expected: tuple[Any, ...]) -> None:
    """The limit of one kind stands before the shared one (SDK environment variables)."""
    limits: SpanLimits = pipelines(**environ).provider.limits
    assert expected == (
        limits.max_attributes, limits.max_span_attributes, limits.max_event_attributes,
        limits.max_link_attributes, limits.max_attribute_length, limits.max_span_attribute_length,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("present", "published"),
    [
        pytest.param(trace_api.ProxyTracerProvider(), True, id="none"),
        pytest.param(TracerProvider(shutdown_on_exit=False), False, id="the application's"),
    ],
)
def test_the_applications_provider_stays(
    pipelines: Pipelines, monkeypatch: pytest.MonkeyPatch, present: Any, published: bool
) -> None:
    """Other instrumentations find ours, unless the application has set its own."""
    given: list[Any] = []
    propagators: list[Any] = []
    monkeypatch.setattr(trace_api, "get_tracer_provider", lambda: present)
    monkeypatch.setattr(trace_api, "set_tracer_provider", given.append)
    monkeypatch.setattr(propagate, "set_global_textmap", propagators.append)
    pipeline = pipelines(OTEL_PROPAGATORS="tracecontext")
    pipeline.publish()
    assert given == ([pipeline.provider] if published else [])
    assert propagators[0].fields == {"traceparent", "tracestate"}


def test_what_requests_begin_with_follows_the_settings(pipelines: Pipelines) -> None:
    """Excluded URLs, captured headers and the sampler are those of the environment."""
    pipeline = pipelines(
        OTEL_PYTHON_WSGI_EXCLUDED_URLS="/health", OTEL_TRACES_SAMPLER="always_off",
        OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_RESPONSE="x-served-by",
    )  # fmt: skip
    tracing = pipeline.tracing(PROFILE)
    assert tracing._captures_response
    assert tracing._excludes
    root = tracing.tracer.start_root("name", SpanKind.SERVER, 1)
    assert not root.is_recording()
