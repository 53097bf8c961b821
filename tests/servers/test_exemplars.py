"""Exemplars of real workers in a real Prometheus, by a scrape and by a push; their traces."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from signal import SIGKILL
from typing import NamedTuple

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.support.gunicorn_server import GunicornServer, Serve, eventually
from tests.support.otlp_grpc_sink import GrpcSink
from tests.support.promtool import promtool
from tests.support.real_collector import Collector
from tests.support.real_prometheus import Prometheus, prometheus

OPENMETRICS = {"Accept": "application/openmetrics-text"}
HOST = "host-of-exemplars"
NAMES = {
    "ivatar_request_duration_seconds_bucket", "ivatar_request_first_byte_seconds_bucket",
    "ivatar_requests_total",
}  # fmt: skip
OWN = {"app_things_total", "app_work_seconds_bucket"}


class Named(NamedTuple):
    """An exemplar, and the sample that has it."""

    sample: str
    labels: dict[str, str]

    @property
    def ids(self) -> tuple[str, str]:
        return self.labels["trace_id"], self.labels["span_id"]


def on_page(server: GunicornServer) -> dict[tuple[str, frozenset[tuple[str, str]]], object]:
    """The exemplars on the page, by sample."""
    page = server.get("/metrics", headers=OPENMETRICS)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.exemplar
        for family in text_string_to_metric_families(page.text)
        for sample in family.samples
        if sample.exemplar
    }


def in_prometheus(running: Prometheus, prefix: str, instance: str) -> list[Named]:
    """The exemplars of the series of an instance whose names begin so."""
    selector = f'{{__name__=~"{prefix}_.+",instance="{instance}"}}'
    return [
        Named(series["__name__"], each["labels"]) for series, each in running.exemplars(selector)
    ]


def received(store: GrpcSink) -> set[tuple[str, str]]:
    """The ids of the server spans that the Collector has sent on."""
    return {(span.trace_id, span.span_id) for span in store.spans() if span.kind == "SERVER"}


def visit(server: GunicornServer) -> None:
    """Requests that succeed and fail."""
    for number in range(6):
        server.get(f"/avatar/{number}")
        server.get("/boom")


def test_exemplars_lead_to_traces(
    serve: Serve,
    tmp_path: Path,
    running_collector: Collector,
    trace_store: GrpcSink,
    receiving_prometheus: Prometheus,
) -> None:
    """Prometheus has them on both ways, each trace is in the store, and a kill loses none."""
    server = serve(
        workers=2,
        env={
            "OTEL_EXPORT_ENABLED": "true",
            "OTEL_EXPORTER_OTLP_ENDPOINT": running_collector.otlp_http,
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{receiving_prometheus.otlp}/v1/metrics",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "OTEL_METRIC_EXPORT_INTERVAL": "500",
            "HOSTNAME": HOST,
        },
    )
    visit(server)
    before = on_page(server)
    assert {name for name, _ in before} >= NAMES | OWN
    workers = server.workers()
    for pid in workers:
        os.kill(pid, SIGKILL)
    server.await_workers(2, without=workers)
    after = on_page(server)
    assert {key: after.get(key) for key in before} == before
    assert promtool("check", "metrics", stdin=server.get("/metrics").text) == (0, "")

    with prometheus(tmp_path / "scraper", server.bound) as scraper:
        for running, instance in ((receiving_prometheus, HOST), (scraper, server.bound)):
            visit(server)
            found = eventually(complete(running, "ivatar", instance, NAMES), what="exemplars")
            eventually(
                lambda found=found: {each.ids for each in found} <= received(trace_store),
                what="the traces",
            )
            found = eventually(complete(running, "app", instance, OWN), what="the application's")
            assert {"user": "a visitor"} in [each.labels for each in found]
        assert set(scraper.vector("up").values()) == {1.0}


@pytest.mark.slow
def test_exemplars_through_a_collector(
    serve: Serve, tmp_path: Path, running_collector: Collector, trace_store: GrpcSink
) -> None:
    """They are on the Collector's own page, too, which Prometheus scrapes."""
    server = serve(
        env={
            "OTEL_EXPORT_ENABLED": "true",
            "OTEL_EXPORTER_OTLP_ENDPOINT": running_collector.otlp_http,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "OTEL_METRIC_EXPORT_INTERVAL": "500",
            "HOSTNAME": HOST,
        },
    )
    visit(server)
    page = running_collector.metrics_url.removeprefix("http://").removesuffix("/metrics")
    with prometheus(tmp_path / "scraper", page) as scraper:
        found = eventually(complete(scraper, "ivatar", HOST, NAMES), what="exemplars")
        eventually(lambda: {each.ids for each in found} <= received(trace_store), what="the traces")
        assert set(scraper.vector("up").values()) == {1.0}


def complete(
    running: Prometheus, prefix: str, instance: str, names: set[str]
) -> Callable[[], list[Named]]:
    """A function that returns the exemplars once all of these samples have some."""

    def find() -> list[Named]:
        found = in_prometheus(running, prefix, instance)
        return found if {each.sample for each in found} >= names else []

    return find
