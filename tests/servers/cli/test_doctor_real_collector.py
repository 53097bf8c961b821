"""The doctor with a real OpenTelemetry Collector, on both its ports, with and without TLS."""

from __future__ import annotations

import pytest

from tests.support.certificates import Authority
from tests.support.doctor import (
    CLIENT,
    EXPIRES,
    GRPC_PROTOCOL,
    TRUSTED,
    bad,
    examine,
    tls_settings,
)
from tests.support.otlp_fixtures import StartCollector
from tests.support.otlp_grpc_sink import GrpcSink
from tests.support.real_collector import COLLECTOR_YAML, DEPLOY, Collector


def test_both_ports_are_told_apart(running_collector: Collector) -> None:
    """What fits arrives; what does not is told before it is sent, port by port."""
    http, grpc = running_collector.otlp_http, running_collector.otlp_grpc
    assert bad(examine(http)) == {}
    assert bad(examine(grpc, **GRPC_PROTOCOL)) == {}
    assert bad(examine(grpc)) == {"collector.grpc_port": "error"}
    assert bad(examine(http, **GRPC_PROTOCOL)) == {"collector.http_port": "error"}
    names = [span.name for span in running_collector.await_spans(2)]
    assert names == ["avatar-telemetry doctor"] * 2


def test_a_path_that_the_collector_does_not_know(running_collector: Collector) -> None:
    """An endpoint of one signal without its path is told as such."""
    found = examine(
        running_collector.otlp_http,
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{running_collector.otlp_http}/traces",
    )
    assert bad(found) == {"traces.http_404": "error"}


@pytest.fixture
def secured(
    authority: Authority,
    start_collector: StartCollector,
    trace_store: GrpcSink,
) -> Collector:
    """A collector that speaks TLS, and only to clients of the authority."""
    certificate = authority.issue("collector")
    return start_collector(
        COLLECTOR_YAML, DEPLOY / "collector-tls.yaml", COLLECTOR_TRACE_STORE=trace_store.address,
        COLLECTOR_CERTIFICATE=str(certificate.path), COLLECTOR_KEY=str(certificate.key),
        COLLECTOR_CLIENT_AUTHORITY=str(authority.certificate.path),
    )  # fmt: skip


def test_tls_of_both_ports(secured: Collector, authority: Authority) -> None:
    """With the right certificates all arrives; without, and on the wrong port, it is told why."""
    http = secured.otlp_http.replace("http:", "https:")
    grpc = secured.otlp_grpc.replace("http:", "https:")
    good = tls_settings(authority, TRUSTED, CLIENT)
    assert bad(examine(http, **good)) == EXPIRES
    assert bad(examine(grpc, **good, **GRPC_PROTOCOL)) == EXPIRES
    bare = tls_settings(authority, TRUSTED)
    wanted = {**EXPIRES, "collector.tls_client_required": "error"}
    assert bad(examine(http, **bare)) == wanted
    assert bad(examine(grpc, **bare, **GRPC_PROTOCOL)) == wanted
    assert bad(examine(http)) == {"collector.tls_unknown_authority": "error"}
    assert bad(examine(secured.otlp_http)) == {"collector.tls_required": "error"}
    wrong = bad(examine(grpc, **good))
    assert {*wrong} & {"collector.tls_protocol", "collector.grpc_port"}
