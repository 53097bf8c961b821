"""However metrics come to Prometheus, each series says job, instance and environment."""

from __future__ import annotations

from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from tests.support.deployed_rules import deployed
from tests.support.real_prometheus import configured
from tests.support.running import PageServer
from tests.support.waiting import DEADLINE, eventually

RESOURCE = {
    "service.name": "ivatar-production",
    "service.instance.id": "prod-instance-01",
    "deployment.environment": "production",
    "environment": "production",
}
IDENTITY = {
    "job": "ivatar-production", "instance": "prod-instance-01", "environment": "production"
}  # fmt: skip
# As the collector's prometheus exporter writes it.
PAGE = """# TYPE ivatar_requests_total counter
ivatar_requests_total{instance="prod-instance-01",job="ivatar-production",method="GET"} 3
"""


@pytest.mark.parametrize("native", [False, True], ids=["classic", "native"])
def test_pushed_metrics_keep_their_names(
    native: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    """The OTLP receiver makes of a push the series that a scrape would have given."""
    monkeypatch.delenv("OTEL_RESOURCE_ATTRIBUTES", raising=False)
    nowhere = f'"127.0.0.1:{port}"'
    targets = {'"ivatar-prod:8000"': nowhere, '"ivatar-dev:9467"': nowhere}
    configuration = deployed(tmp_path / "prometheus", targets, native=native)
    duration = "ivatar_request_duration_seconds" + ("" if native else "_count")
    with configured(configuration, tmp_path / "data", otlp=True) as prometheus:
        exporter = OTLPMetricExporter(endpoint=f"{prometheus.url}/api/v1/otlp/v1/metrics")
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)
        provider = MeterProvider([reader], Resource(RESOURCE))
        meter = provider.get_meter("test")
        meter.create_counter("ivatar_requests_total").add(3, {"method": "GET"})
        meter.create_histogram("ivatar_request_duration_seconds", "s").record(0.2)
        provider.shutdown(DEADLINE * 1000)
        for name in ("ivatar_requests_total", duration):
            (series,) = eventually(lambda name=name: prometheus.query(name), what=name)
            assert series["metric"].items() >= IDENTITY.items()


def test_a_collectors_page_keeps_the_hosts(tmp_path: Path) -> None:
    """Through a collector, job and instance are the hosts', not the collector's."""
    with PageServer(PAGE, **{"Content-Type": "text/plain; version=0.0.4"}) as page:
        address = page.url.removeprefix("http://")
        configuration = deployed(tmp_path / "prometheus", {'"collector:9464"': f'"{address}"'})
        text = configuration.read_text()
        chosen = text.replace("- scrape/direct.yml", "- scrape/collector.yml")
        assert chosen != text
        configuration.write_text(chosen)
        with configured(configuration, tmp_path / "data") as prometheus:
            (series,) = eventually(lambda: prometheus.query("ivatar_requests_total"))
            assert series["metric"].items() >= IDENTITY.items()
            (up,) = eventually(lambda: prometheus.query('up{job=~"ivatar.*"}'))
            assert up["metric"]["job"] == "ivatar-collector"
