"""A worker's own provider for the metrics of the OpenTelemetry API."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.resources import Resource

from avatar_telemetry import Settings
from avatar_telemetry.config.resource import worker_attributes
from avatar_telemetry.export.meters import WorkerMeterProvider
from avatar_telemetry.guard import Guard
from tests.support.rows import by_default

ENVIRON = {
    "OTEL_EXPORT_ENABLED": "true",
    "OTEL_METRICS_EXPORTER": "console",
    "OTEL_METRIC_EXPORT_INTERVAL": "3600000",
    "HOSTNAME": "here",
}
PATIENCE = 30.0
WHOSE = """
import os
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from avatar_telemetry import Settings
from avatar_telemetry.guard import Guard
from avatar_telemetry.export.meters import start_meters
for already in (lambda: None, MeterProvider, metrics.NoOpMeterProvider):
    if os.fork() == 0:
        if provider := already():
            metrics.set_meter_provider(provider)
        ours = start_meters(Settings.from_env({}), 3, Guard())
        print(metrics.get_meter_provider() is ours, flush=True)
        os._exit(0)
    os.wait()
"""


HISTOGRAM = """
import os, time
from opentelemetry import metrics
from avatar_telemetry import Settings
from avatar_telemetry.guard import Guard
from avatar_telemetry.export.meters import start_meters
provider = start_meters(Settings.from_env(os.environ), 3, Guard())
metrics.get_meter("mine").create_histogram("my_sizes").record(3.0)
provider.stop()
provider.wait(time.monotonic() + 30)
"""
EXPORT = """
import os, time
from opentelemetry import metrics
from avatar_telemetry import Settings
from avatar_telemetry.guard import Guard
from avatar_telemetry.export.meters import start_meters
early = metrics.get_meter("mine").create_counter("my_calls")
provider = start_meters(Settings.from_env(os.environ), 3, Guard())
early.add(2)
provider.stop()
provider.wait(time.monotonic() + 30)
"""


def run(script: str, *arguments: str, env: dict[str, str] | None = None) -> str:
    """What a process of its own prints; it must print nothing else."""
    command = [sys.executable, "-c", script, *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert (answer.returncode, answer.stderr) == (0, "")
    return answer.stdout


@pytest.fixture
def provider() -> Iterator[WorkerMeterProvider]:
    settings = Settings.from_env(ENVIRON)
    provider = WorkerMeterProvider(Resource(worker_attributes(settings, 3)), settings, Guard())
    yield provider
    provider.stop()
    provider.wait(time.monotonic() + PATIENCE)


def meter_threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "avatar-telemetry-meters"]


def test_exported_at_the_end() -> None:
    """What was counted since the last export leaves at the end, from the slot's instance."""
    answer = run(EXPORT, env={**os.environ, **ENVIRON})
    exported = json.loads(answer)
    (resource,) = exported["resource_metrics"]
    (metric,) = resource["scope_metrics"][0]["metrics"]
    assert resource["resource"]["attributes"]["service.instance.id"] == "here/3"
    assert metric["name"] == "my_calls"
    assert metric["data"]["data_points"][0]["value"] == 2


def test_no_thread_without_a_meter(provider: WorkerMeterProvider) -> None:
    """Where nobody asks for a meter there is no thread, and one where somebody does."""
    assert not meter_threads()
    for name in ("a", "b"):
        provider.get_meter(name)
    (thread,) = meter_threads()
    assert thread.daemon


def test_meter_after_the_end(
    provider: WorkerMeterProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asking for a meter after the end starts nothing."""
    started = []
    monkeypatch.setattr(threading.Thread, "start", started.append)
    provider.stop()
    provider.get_meter("late").create_counter("c").add(1)
    assert started == []


def test_child_of_the_application_does_not_export(provider: WorkerMeterProvider) -> None:
    """In a child that the application forks nobody speaks in the worker's name."""
    provider.get_meter("mine").create_counter("my_calls").add(2)
    child = os.fork()
    if child == 0:
        for thread in set(threading.enumerate()) - {threading.current_thread()}:
            thread.join(1.0)  # SDK 1.45.0 does not wait for the one that detects the resource
        os._exit(threading.active_count())
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 1


def test_application_that_has_its_own() -> None:
    """The global provider becomes ours only where the application has not set one."""
    assert run(WHOSE).split() == ["True", "False", "False"]


def test_identity_is_the_slots() -> None:
    """A worker is its host and its slot, whoever held the slot before."""
    settings = Settings.from_env(ENVIRON)
    assert worker_attributes(settings, 3)["service.instance.id"] == "here/3"
    given = {**ENVIRON, "OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=mine"}
    assert worker_attributes(Settings.from_env(given), 0)["service.instance.id"] == "mine/0"


@pytest.mark.parametrize(
    ("chosen", "point"),
    by_default("exponential", [
        pytest.param("base2_exponential_bucket_histogram", "scale", id="exponential"),
        pytest.param("BASE2_exponential_bucket_histogram", "scale", id="in any case"),
        pytest.param("explicit_bucket_histogram", "explicit_bounds", id="explicit"),
        pytest.param("square", "explicit_bounds", id="unknown"),
    ]),
)  # fmt: skip
def test_form_of_histograms(chosen: str, point: str) -> None:
    """The variable decides the form of the histograms that are made with the API."""
    variable = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION"
    exported = json.loads(run(HISTOGRAM, env={**os.environ, **ENVIRON, variable: chosen}))
    (metric,) = exported["resource_metrics"][0]["scope_metrics"][0]["metrics"]
    assert point in metric["data"]["data_points"][0]


@pytest.mark.parametrize(
    ("chosen", "exemplars"),
    by_default("on", [
        pytest.param("ALWAYS_ON", 1, id="on"),
        pytest.param("bogus", 0, id="unknown"),
        pytest.param("", 0, id="empty"),
    ]),
)  # fmt: skip
def test_exemplar_filter(chosen: str, exemplars: int) -> None:
    """A filter is found in any case, and one that does not exist costs no metric."""
    env = {**os.environ, **ENVIRON, "OTEL_METRICS_EXEMPLAR_FILTER": chosen}
    exported = json.loads(run(HISTOGRAM, env=env))
    (metric,) = exported["resource_metrics"][0]["scope_metrics"][0]["metrics"]
    assert len(metric["data"]["data_points"][0]["exemplars"]) == exemplars
