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

from avatar_telemetry._base.guard import Guard
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.profiles.ivatar import PROFILE
from avatar_telemetry.runtime.tracing import Pipeline
from avatar_telemetry.tracing.writer import SpanWriter
from tests.support.frames import Frames
from tests.support.waiting import DEADLINE


class Pipelines:
    """Makes pipelines that write frames into memory, and stops them at the end."""

    def __init__(self) -> None:
        self.made: list[Pipeline] = []
        self.frames = Frames()

    def __call__(self, **environ: str) -> Pipeline:
        settings = Settings.from_env({"OTEL_EXPORT_ENABLED": "true", **environ})
        sink = SpanWriter(self.frames)
        pipeline = Pipeline(settings, Resource({"process.pid": 1}), b"key", Guard(), sink)
        self.made.append(pipeline)
        return pipeline


@pytest.fixture
def pipelines() -> Iterator[Pipelines]:
    made = Pipelines()
    yield made
    for pipeline in made.made:
        pipeline.stop(time.monotonic() + DEADLINE)


def span(pipeline: Pipeline, name: str = "name") -> Any:
    made = pipeline.provider.get_tracer("tests").start_span(name)
    made.end()
    return made


def test_ended_spans_are_written(pipelines: Pipelines) -> None:
    """A span that ends outside of a request is written at its end."""
    pipeline = pipelines()
    span(pipeline, "first")
    assert pipelines.frames.names() == [["first"]]
    span(pipeline, "second")
    assert pipelines.frames.names() == [["first"], ["second"]]


def test_a_child_writes_its_own_spans(pipelines: Pipelines) -> None:
    """After a fork the ids are new, and a request of the parent's does not end in the child."""
    pipeline = pipelines()
    process = pipeline.sink.process
    before = span(pipeline).get_span_context()
    pipeline.renew()
    assert pipeline.sink.process is not process
    assert span(pipeline).get_span_context().trace_id != before.trace_id
    assert len(pipelines.frames.names()) == 2


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
