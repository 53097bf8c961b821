"""Fixtures of real collectors and sinks; a folder's ``conftest.py`` imports those that it wants.

Each ends with its test, but for the shared collector. What they yield is described by its class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.otlp_grpc_sink import GrpcSink
from tests.support.otlp_sink import OtlpSink, SinkProcess
from tests.support.real_collector import Collector, collector
from tests.support.waiting import DEADLINE

StartCollector = Callable[..., Collector]


@pytest.fixture(autouse=True)
def patient_exporters(monkeypatch: pytest.MonkeyPatch) -> None:
    """The official exporters give up nothing that a sink or a collector is only slow to answer."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", f"{DEADLINE:.0f}")


@pytest.fixture
def start_collector(tmp_path: Path) -> Iterator[StartCollector]:
    """Starts collectors: configurations, and variables of these by keyword."""
    with ExitStack() as servers:

        def start(*configurations: Path, name: str = "otelcol", **env: str) -> Collector:
            folder = tmp_path / name
            folder.mkdir()
            return servers.enter_context(collector(folder, *configurations, **env))

        yield start


@pytest.fixture
def trace_store() -> Iterator[GrpcSink]:
    """Stands where the collector's traces go."""
    with GrpcSink() as sink:
        yield sink


@pytest.fixture
def running_collector(start_collector: StartCollector, trace_store: GrpcSink) -> Collector:
    """A collector with ``deploy/collector/collector.yaml`` that sends on to ``trace_store``."""
    return start_collector(COLLECTOR_TRACE_STORE=trace_store.address)


@pytest.fixture(scope="session")
def shared_collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """The same without stores: a store in this process would keep connections over tests."""
    with collector(tmp_path_factory.mktemp("otelcol")) as started:
        yield started


@pytest.fixture
def sink() -> Iterator[OtlpSink]:
    """A sink of OTLP/HTTP in this process."""
    with OtlpSink() as started:
        yield started


@pytest.fixture
def sink_process(tmp_path: Path) -> Iterator[SinkProcess]:
    """A sink of OTLP/HTTP in a process of its own."""
    with SinkProcess(tmp_path) as started:
        yield started


@pytest.fixture
def grpc_sink() -> Iterator[GrpcSink]:
    """A sink of OTLP/gRPC in this process."""
    with GrpcSink() as started:
        yield started


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """A private certificate authority."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)  # requests puts them above what a session trusts
    return Authority(tmp_path / "authority")
