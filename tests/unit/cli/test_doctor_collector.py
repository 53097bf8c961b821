"""The doctor's checks of a collector: every fault has a name and a fix."""

from __future__ import annotations

import os
import socket
from typing import Any

import grpc
import pytest

from avatar_telemetry.cli.checks import collector
from tests.support.certificates import Authority
from tests.support.doctor import (
    CLIENT,
    EXPIRES,
    GRPC_PROTOCOL,
    STRANGER,
    TRUSTED,
    bad,
    examine,
    tls_settings,
)
from tests.support.otlp_faults import Fault
from tests.support.otlp_grpc_sink import GrpcSink
from tests.support.otlp_sink import OtlpSink
from tests.support.real_servers import hold_port
from tests.support.running import invoke

TIMEOUT = 1.0
"""Seconds after which a collector that does not respond is given up."""
WITH_LOGS = {"OTEL_LOGS_EXPORTER": "otlp"}


def test_a_good_collector_gets_one_of_each(sink: OtlpSink) -> None:
    """One of each signal arrives, with the resource of the server, and nothing is bad."""
    findings = examine(sink.url, OTEL_SERVICE_NAME="mine", **WITH_LOGS)
    assert bad(findings) == {}
    sent = {"traces.sent", "metrics.sent", "logs.sent"}
    assert sent | {"collector.reached"} <= {each.check for each in findings}
    (span,) = sink.spans()
    (metric,) = sink.metrics()
    (record,) = sink.logs()
    assert (span.name, metric.name) == ("avatar-telemetry doctor", "avatar_telemetry_doctor")
    assert record.proto.body.string_value == "avatar-telemetry doctor"
    assert {each.resource["service.name"] for each in (span, metric, record)} == {"mine"}


def test_a_collector_without_logs(sink: OtlpSink) -> None:
    """A collector that accepts spans and metrics alone is reported for the log records."""
    elsewhere = {"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": f"{sink.url}/nowhere"}
    assert bad(examine(sink.url, **WITH_LOGS, **elsewhere)) == {"logs.http_404": "error"}


def test_a_good_collector_of_grpc(grpc_sink: GrpcSink) -> None:
    """The same over gRPC."""
    assert bad(examine(grpc_sink.url, **GRPC_PROTOCOL, **WITH_LOGS)) == {}
    assert [span.name for span in grpc_sink.spans()] == ["avatar-telemetry doctor"]
    assert (len(grpc_sink.metrics()), len(grpc_sink.logs())) == (1, 1)


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_it_is_sent_as_the_server_would(sink: OtlpSink, compression: str) -> None:
    """Headers and compression are those of the settings."""
    examine(
        sink.url, OTEL_EXPORTER_OTLP_COMPRESSION=compression,
        OTEL_EXPORTER_OTLP_HEADERS="Authorization=Bearer%20abc",
    )  # fmt: skip
    sent = [each for each in sink.exchanges() if each.method == "POST"]
    assert [each.headers["authorization"] for each in sent] == ["Bearer abc"] * 2
    assert {each.headers["content-encoding"] for each in sent} == {compression}


def test_a_query_is_not_shown(sink: OtlpSink) -> None:
    """The query of an endpoint, which may hold a key, is not shown."""
    found = examine(f"{sink.url}?key=secret") + examine(f"{sink.url}/no?key=secret")
    assert any("http" in each.message for each in found)
    assert not any("secret" in each.message + each.advice for each in found)


def test_nothing_is_sent_where_that_is_not_wanted(sink: OtlpSink) -> None:
    """With ``--no-send`` the port is checked and nothing is sent."""
    assert bad(examine(sink.url, send=False)) == {}
    assert not [each for each in sink.exchanges() if each.method == "POST"]


def test_signals_that_are_off_are_not_sent(sink: OtlpSink) -> None:
    """A signal that goes nowhere is not tested."""
    examine(sink.url, OTEL_TRACES_EXPORTER="none")
    assert not sink.spans()
    assert len(sink.metrics()) == 1
    assert examine(sink.url, OTEL_EXPORT_ENABLED="false") == []


def both(name: str, level: str = "error") -> dict[str, str]:
    return {f"traces.{name}": level, f"metrics.{name}": level}


STATUSES = {
    **dict.fromkeys((400, 401, 403, 404, 405, 413, 415, 418, 500, 501, 599), "error"),
    **dict.fromkeys((429, 502, 503, 504), "warning"),
}
FINAL = ("UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED", "FAILED_PRECONDITION")
GRPC_STATUSES = {
    **dict.fromkeys(FINAL, "error"),
    **dict.fromkeys(("RESOURCE_EXHAUSTED", "UNAVAILABLE", "DATA_LOSS"), "warning"),
}


@pytest.mark.parametrize(("status", "level"), STATUSES.items())
def test_status_of_http(sink: OtlpSink, status: int, level: str) -> None:
    """A response without success is reported for each signal; a retried one is a warning."""
    sink.behave(Fault.STATUS, status=status)
    assert bad(examine(sink.url)) == both(f"http_{status}", level)


@pytest.mark.parametrize(("status", "level"), GRPC_STATUSES.items())
def test_status_of_grpc(grpc_sink: GrpcSink, status: str, level: str) -> None:
    """The same over gRPC."""
    grpc_sink.behave(Fault.STATUS, status=grpc.StatusCode[status].value[0])
    assert bad(examine(grpc_sink.url, **GRPC_PROTOCOL)) == both(f"grpc_{status.lower()}", level)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault.REFUSED, {"collector.refused": "error"}),
        (Fault.BLACKHOLE, {"traces.timeout": "error"}),
        (Fault.ENDLESS_HEAD, {"traces.timeout": "error"}),
        (Fault.RESET, {"traces.failed": "error"}),
        (Fault.GARBAGE, {"traces.failed": "error"}),
        (Fault.WRONG_PROTOBUF, both("no_otlp", "warning")),
        (Fault.PARTIAL_SUCCESS, both("rejected")),
        (Fault.REDIRECT, both("refused_response")),
    ],
)
def test_fault_of_a_collector(sink: OtlpSink, fault: Fault, expected: dict[str, str]) -> None:
    """Each fault has a name; where no response comes, no other signal is tried."""
    sink.behave(fault)
    patience = {"timeout": TIMEOUT} if "traces.timeout" in expected else {}
    assert bad(examine(sink.url, **patience)) == expected


@pytest.mark.parametrize(
    ("kind", "tls", "scheme", "protocol", "check"),
    [
        (GrpcSink, False, "http:", "http/protobuf", "grpc_port"),
        (GrpcSink, True, "https:", "http/protobuf", "grpc_port"),
        (OtlpSink, False, "http:", "grpc", "http_port"),
        (OtlpSink, True, "https:", "grpc", "http_port"),
        (OtlpSink, False, "https:", "http/protobuf", "tls_not_used"),
        (GrpcSink, False, "https:", "grpc", "tls_not_used"),
        (OtlpSink, True, "http:", "http/protobuf", "tls_required"),
        (GrpcSink, True, "http:", "grpc", "tls_required"),
    ],
)
def test_confusion_of_ports(
    authority: Authority, kind: Any, tls: bool, scheme: str, protocol: str, check: str
) -> None:
    """The other protocol, missing and unexpected TLS are found, whatever the port's number is."""
    with kind(authority.issue("good") if tls else None) as sink:
        url = scheme + sink.url.partition(":")[2]
        env = {**tls_settings(authority, TRUSTED), "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
        findings = examine(url, **env)
        assert not sink.spans()
    assert {**bad(findings), **EXPIRES} == {**EXPIRES, f"collector.{check}": "error"}
    advice = {"grpc": "PROTOCOL=http/protobuf", "http/protobuf": "PROTOCOL=grpc"}[protocol]
    assert check.startswith("tls") or advice in findings[-1].advice


def test_the_port_of_grpc_is_known() -> None:
    """For 4317 without a protocol gRPC is used, and that is reported."""
    findings = examine("http://127.0.0.1:4317", send=False)
    assert findings[0].check == "collector.port"
    assert "gRPC is used" in findings[0].message


def test_another_port_that_is_open_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """If one port of OTLP refuses connections and the other accepts them, that one is named."""
    with socket.create_server(("127.0.0.1", 0)) as other, hold_port() as closed:
        here, there = closed.getsockname()[1], other.getsockname()[1]
        monkeypatch.setitem(collector.OTHER_PORT, here, (there, "grpc"))
        findings = examine(f"http://127.0.0.1:{here}")
    assert bad(findings) == {"collector.refused": "error"}
    assert f"Port {there} is open" in findings[-1].advice


def test_a_name_that_does_not_resolve() -> None:
    """A host name without an address has a finding of its own."""
    assert bad(examine("http://no-such-host.invalid:4318")) == {"collector.name": "error"}


def test_a_proxy_of_the_environment(sink: OtlpSink, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the environment is reported, and the test item is sent through it."""
    monkeypatch.setenv("http_proxy", sink.url)
    monkeypatch.delenv("no_proxy", raising=False)
    findings = examine("http://collector.invalid:4318")
    assert findings[0].check == "collector.proxy"
    assert {each.path for each in sink.exchanges()} == {
        "http://collector.invalid:4318/v1/traces", "http://collector.invalid:4318/v1/metrics",
    }  # fmt: skip


def test_no_proxy_of_the_environment(sink: OtlpSink, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host in no_proxy is connected to directly, and no proxy is reported."""
    monkeypatch.setenv("http_proxy", sink.url)
    monkeypatch.setenv("no_proxy", "localhost,collector.invalid")
    findings = examine("http://collector.invalid:4318")
    assert bad(findings) == {"collector.name": "error"}
    assert sink.exchanges() == []


REFUSED = {**EXPIRES, "collector.tls_client_refused": "error"}
WANTED = {**EXPIRES, "collector.tls_client_required": "error"}
UNKNOWN = {"collector.tls_unknown_authority": "error"}


@pytest.mark.parametrize(
    ("issue", "words", "expected"),
    [
        # The authority of the tests issues for two days.
        pytest.param("issue", (TRUSTED,), EXPIRES, id="good"),
        pytest.param("issue", (), UNKNOWN, id="unknown-authority"),
        pytest.param("wrong", (TRUSTED,), {"collector.tls_wrong_host": "error"}, id="wrong-host"),
        pytest.param("self_signed", (), {"collector.tls_self_signed": "error"}, id="self-signed"),
        pytest.param("expired", (TRUSTED,), {"collector.tls_expired": "error"}, id="expired"),
    ],
)
def test_certificate(
    authority: Authority, issue: str, words: tuple[str, ...], expected: dict[str, str]
) -> None:
    """Each fault of a certificate has a name, and nothing is sent."""
    alternatives = ("DNS:elsewhere.example",) if issue == "wrong" else ()
    make = authority.issue if issue == "wrong" else getattr(authority, issue)
    with OtlpSink(make(issue, *alternatives)) as sink:
        assert bad(examine(sink.url, **tls_settings(authority, *words))) == expected
        assert bool(sink.spans()) == (expected == EXPIRES)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param((TRUSTED, CLIENT), EXPIRES, id="good"),
        pytest.param((TRUSTED, STRANGER), REFUSED, id="refused"),
        pytest.param((TRUSTED,), WANTED, id="wanted"),
        pytest.param((CLIENT,), UNKNOWN, id="unknown"),
    ],
)
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_client_certificate(
    authority: Authority, protocol: str, words: tuple[str, ...], expected: dict[str, str]
) -> None:
    """A collector that requires a client certificate is recognised in both protocols."""
    kind: Any = GrpcSink if protocol == "grpc" else OtlpSink
    with kind(authority.issue("good"), authority.certificate) as sink:
        env = {**tls_settings(authority, *words), "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
        assert bad(examine(sink.url, **env)) == expected
        assert bool(sink.spans()) == (expected == EXPIRES)


def test_certificate_files(authority: Authority) -> None:
    """A key of another certificate, and a file without any, are reported before any connection."""
    good, other = authority.issue("good"), authority.issue("other")
    prefix = "OTEL_EXPORTER_OTLP_"
    pair = {prefix + "CLIENT_CERTIFICATE": str(good.path), prefix + "CLIENT_KEY": str(other.key)}
    with OtlpSink(good) as sink:
        mismatch = examine(sink.url, **pair)
        no_certificate = examine(sink.url, **{prefix + "CERTIFICATE": os.fspath(__file__)})
    assert bad(mismatch) == bad(no_certificate) == {"collector.tls_files": "error"}
    assert "must be the key of" in mismatch[-1].advice


def test_output_of_the_command(sink: OtlpSink) -> None:
    """The process shows the finding with its advice, and ends with its status."""
    sink.behave(Fault.STATUS, status=401)
    env = {
        "OTEL_EXPORT_ENABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url,
        "OTEL_EXPORTER_OTLP_TIMEOUT": "60",
    }  # fmt: skip
    ran = invoke("doctor", "-q", "--timeout", 60, **env)
    assert ran.status == 2
    assert "requires authentication (401)" in ran.out
    assert "-> Check the token in OTEL_EXPORTER_OTLP_HEADERS" in ran.out
    printed = invoke("doctor", "--json", "--timeout", 60, **env).json()
    assert printed["status"] == 2
    assert "traces.http_401" in {each["check"] for each in printed["findings"]}
