"""The endpoint of a signal, and the protocol that its port asks for."""

from __future__ import annotations

import pytest

from avatar_telemetry import Settings
from avatar_telemetry.config.otlp import SIGNALS, Otlp, Signal, resolve

VARIABLE = "OTEL_EXPORTER_OTLP_"
GRPC = "http://collector.internal:4317"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
METRICS_ENDPOINT = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"
PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"


def told(signal: Signal = "traces", **environ: str) -> Otlp:
    """What the variables say."""
    return Settings.from_env({VARIABLE + name: text for name, text in environ.items()}).otlp[signal]


def test_place_has_no_query() -> None:
    """Where a signal goes is shown without the query, which may hold a key."""
    otlp = told(TRACES_ENDPOINT="https://c:4318/v1/traces?key=secret#part")
    assert otlp.place == "https://c:4318/v1/traces"
    assert otlp.endpoint.endswith("?key=secret#part")


def test_query_of_a_shared_endpoint_stays() -> None:
    """The path of the signal is put before the query."""
    assert told(ENDPOINT="https://c/base?key=1").endpoint == "https://c/base/v1/traces?key=1"


def test_secrets_are_not_in_the_representation() -> None:
    """Headers often hold a token."""
    assert "sesame" not in repr(told(HEADERS="authorization=sesame"))


@pytest.mark.parametrize(
    ("environ", "signal", "named_by"),
    [
        pytest.param({}, "traces", "", id="default"),
        pytest.param({"ENDPOINT": "http://c"}, "logs", "ENDPOINT", id="of all signals"),
        pytest.param({"ENDPOINT": "http://c", "LOGS_ENDPOINT": "http://d"}, "logs",
                     "LOGS_ENDPOINT", id="of this signal"),
        pytest.param({"ENDPOINT": "http://c", "LOGS_ENDPOINT": "http://d"}, "traces",
                     "ENDPOINT", id="of another signal"),
        pytest.param({"ENDPOINT": "http://c", "LOGS_ENDPOINT": ""}, "logs", "ENDPOINT",
                     id="empty counts as unset"),
    ],
)  # fmt: skip
def test_variable_that_named_the_endpoint(
    environ: dict[str, str], signal: Signal, named_by: str
) -> None:
    """The log of a failure names the variable to correct."""
    assert told(signal, **environ).endpoint_from == (named_by and VARIABLE + named_by)


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize(
    ("environ", "installed", "protocol", "endpoint"),
    [
        pytest.param({}, True, "http/protobuf", "http://localhost:4318/v1/{}", id="default"),
        pytest.param({"ENDPOINT": "http://c:4317"}, True, "grpc", "http://c:4317", id="gRPC"),
        pytest.param({"ENDPOINT": "https://c:4317/"}, False, "http/protobuf",
                     "https://c:4318/v1/{}", id="gRPC not installed"),
        pytest.param({"ENDPOINT": "http://c:4317", "PROTOCOL": "http/protobuf"}, True,
                     "http/protobuf", "http://c:4317/v1/{}", id="HTTP named"),
        pytest.param({"ENDPOINT": "http://c:4318", "PROTOCOL": "grpc"}, False, "grpc",
                     "http://c:4318", id="gRPC named"),
        pytest.param({"ENDPOINT": "http://c:14317"}, True, "http/protobuf",
                     "http://c:14317/v1/{}", id="another port"),
    ],
)  # fmt: skip
def test_resolved(
    signal: Signal, environ: dict[str, str], installed: bool, protocol: str, endpoint: str
) -> None:
    """A named protocol is used; else port 4317 means gRPC where that is installed."""
    settled, _ = resolve(signal, told(signal, **environ), grpc_installed=installed)
    assert (settled.protocol, settled.endpoint) == (protocol, endpoint.format(signal))
    again, _ = resolve(signal, settled, grpc_installed=installed)
    assert again == settled


@pytest.mark.parametrize(
    ("environ", "installed", "protocol", "endpoint", "said"),
    [
        pytest.param({}, False, "http/protobuf", "http://localhost:4318/v1/metrics", "",
                     id="nothing set"),
        pytest.param({ENDPOINT: GRPC}, True, "grpc", GRPC, "so gRPC is used", id="4317, gRPC"),
        pytest.param({ENDPOINT: GRPC}, False, "http/protobuf",
                     "http://collector.internal:4318/v1/metrics", "4318 instead", id="4317, HTTP"),
        pytest.param({METRICS_ENDPOINT: GRPC}, False, "http/protobuf",
                     "http://collector.internal:4318/v1/metrics", "4318 instead",
                     id="own endpoint without path"),
        pytest.param({METRICS_ENDPOINT: GRPC + "/here"}, False, "http/protobuf",
                     "http://collector.internal:4318/here", "4318 instead",
                     id="own endpoint with path"),
        pytest.param({ENDPOINT: "http://[::1]:4317"}, False, "http/protobuf",
                     "http://[::1]:4318/v1/metrics", "4318 instead", id="IPv6"),
        pytest.param({ENDPOINT: GRPC, PROTOCOL: "http/protobuf"}, True, "http/protobuf",
                     GRPC + "/v1/metrics", "as set by OTEL_EXPORTER_OTLP_PROTOCOL", id="HTTP set"),
        pytest.param({ENDPOINT: GRPC, PROTOCOL: "grpc"}, True, "grpc", GRPC, "", id="gRPC told"),
        pytest.param({ENDPOINT: "http://c:4318", PROTOCOL: "grpc"}, True, "grpc", "http://c:4318",
                     "", id="gRPC elsewhere"),
    ],
)  # fmt: skip
def test_protocol_and_port(
    environ: dict[str, str], installed: bool, protocol: str, endpoint: str, said: str
) -> None:
    """The port of gRPC means gRPC unless a protocol is set; without gRPC, HTTP's port is used."""
    configured = Settings.from_env(environ).otlp["metrics"]
    result, note = resolve("metrics", configured, grpc_installed=installed)
    assert (result.protocol, result.endpoint) == (protocol, endpoint)
    assert said in note
    assert bool(note) == bool(said)
