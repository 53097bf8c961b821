"""What docs/exporting.md says makes a real server send in the form that the text promises."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality

from avatar_telemetry.config.settings import Settings
from tests.support.gunicorn_server import Serve, eventually
from tests.support.otlp_records import METRICS, Exchange
from tests.support.otlp_sink import OtlpSink
from tests.support.paths import DOCS
from tests.support.rows import by_default

TEXT = (DOCS / "exporting.md").read_text(encoding="utf-8")
BLOCKS = [
    dict(line.split("=", 1) for line in block.splitlines())
    for block in re.findall(r"```sh\n(.*?)\n```", TEXT, re.DOTALL)
]
COLLECTOR, NEW_RELIC, AGENT, INTAKE = BLOCKS
DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
COUNTED = "ivatar_requests_total"


def sent(sink: OtlpSink) -> list[Exchange]:
    """The pushes in which a request was counted."""
    pushes = [each for each in sink.exchanges() if each.path == METRICS]
    return [push for push in pushes if COUNTED.encode() in push.content]


def temporalities(push: Exchange) -> set[Any]:
    """Of every counter and histogram of a push."""
    data = [
        getattr(metric, metric.WhichOneof("data"))
        for resource in push.message.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    ]
    return {
        each.aggregation_temporality for each in data
        if hasattr(each, "aggregation_temporality") and getattr(each, "is_monotonic", True)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("environment", "headers", "temporality"),
    by_default("new-relic", [
        pytest.param(COLLECTOR, {}, CUMULATIVE, id="collector"),
        pytest.param(
            NEW_RELIC, {"api-key": "your-licence-key", "content-encoding": "gzip"}, DELTA,
            id="new-relic",
        ),
        pytest.param(AGENT, {}, DELTA, id="datadog-agent"),
        pytest.param(INTAKE, {"dd-api-key": "your-api-key"}, DELTA, id="datadog-intake"),
    ]),
)  # fmt: skip
def test_the_request_has_the_form_that_the_service_takes(
    serve: Serve, sink: OtlpSink, environment: Mapping[str, str], headers: Mapping[str, str],
    temporality: Any,
) -> None:  # fmt: skip
    """Path, key, encoding and temporality are what the text promises."""
    env = {name: re.sub(r"https?://[^/]+", sink.url, value) for name, value in environment.items()}
    server = serve("plain:application", env=env | {"OTEL_METRIC_EXPORT_INTERVAL": "500"})
    server.get("/")
    push = eventually(lambda: sent(sink), what="the push")[0]
    assert push.headers["content-type"] == "application/x-protobuf"
    assert push.headers.items() >= headers.items()
    assert temporalities(push) == {temporality}


@pytest.mark.parametrize("environment", BLOCKS)
def test_the_server_starts_with_it(environment: Mapping[str, str]) -> None:
    """Every line is a setting with a value that is allowed."""
    assert Settings.from_env(environment).export_enabled
