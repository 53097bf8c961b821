"""Metrics of the OpenTelemetry API, from a real gunicorn to a real Collector and a Prometheus."""

from __future__ import annotations

import pytest

from tests.support.gunicorn_server import Metrics, Serve, eventually, parse
from tests.support.otlp_fixtures import StartCollector
from tests.support.real_prometheus import Prometheus
from tests.support.rows import by_default, rows

SCOPE = {"otel_scope_name", "otel_scope_version"}
# A Prometheus drops the scope of what it is sent, unless it is configured to promote it.
LOST = {"collector": {"otel_scope_schema_url"}, "prometheus": SCOPE}
ADDED = {"instance", "job"}


def shop(metrics: Metrics, without: set[str]) -> Metrics:
    """The application's series, without these labels and with bounds as numbers."""
    return {
        (name, frozenset(
            (label, str(float(value)) if label == "le" else value)
            for label, value in labels if label not in without and value
        )): value
        for (name, labels), value in metrics.items() if name.startswith("shop_")
    }  # fmt: skip


@pytest.mark.parametrize("way", by_default("collector", rows("collector", "prometheus")))
def test_names_on_the_way(
    serve: Serve, start_collector: StartCollector, request: pytest.FixtureRequest, way: str
) -> None:
    """Each series comes out under the name and the labels that it has on the page."""
    env = {
        "OTEL_EXPORT_ENABLED": "true", "OTEL_TRACES_EXPORTER": "none",
        "OTEL_METRIC_EXPORT_INTERVAL": "200", "HOSTNAME": "a-shop",
    }  # fmt: skip
    if way == "collector":
        collector = start_collector()
        env["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.otlp_http
    else:
        receiver: Prometheus = request.getfixturevalue("receiving_prometheus")
        env["OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"] = f"{receiver.otlp}/v1/metrics"

    def shown() -> Metrics:
        if way == "collector":
            return parse(collector.page())
        return receiver.series('{instance="a-shop"}')

    server = serve("metered:application", env=env, workers=2)
    for _ in range(5):
        server.get("/a")
    eventually(lambda: server.value("shop_sold_total") == 10)
    expected = shop(server.metrics(), LOST[way])
    assert len(expected) == 10
    eventually(lambda: shop(shown(), ADDED | LOST[way]) == expected, what=str(expected))
