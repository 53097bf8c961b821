"""The doctor at the collector: every fault on the way has its name and its advice."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from avatar_telemetry.cli.checks import collector
from avatar_telemetry.cli.checks.finding import Finding, exit_status
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
"""Seconds that the doctor waits for what does not answer; what answers does so at once."""
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
    """One that takes spans and metrics alone is told for the log records that it would refuse."""
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
    """The endpoint is told without its query, which may hold a key."""
    found = examine(f"{sink.url}?key=secret") + examine(f"{sink.url}/no?key=secret")
    assert any("http" in each.message for each in found)
    assert not any("secret" in each.message + each.advice for each in found)


def test_nothing_is_sent_where_that_is_not_wanted(sink: OtlpSink) -> None:
    """With ``--no-send`` the port is looked at and nothing posted."""
    assert bad(examine(sink.url, send=False)) == {}
    assert not [each for each in sink.exchanges() if each.method == "POST"]


def test_signals_that_are_off_are_not_sent(sink: OtlpSink) -> None:
    """A signal that goes nowhere is not tested."""
    examine(sink.url, OTEL_TRACES_EXPORTER="none")
    assert not sink.spans()
    assert len(sink.metrics()) == 1
    assert examine(sink.url, OTEL_EXPORT_ENABLED="false") == []


def both(name: str, level: str) -> dict[str, str]:
    return {f"traces.{name}": level, f"metrics.{name}": level}


SLOW = {"timeout": TIMEOUT}


@pytest.mark.parametrize(
    ("fault", "measures", "options", "expected"),
    [
        *(
            pytest.param(
                Fault.STATUS, {"status": status}, {}, both(f"http_{status}", level), id=str(status)
            )
            for status, level in (
                (400, "error"), (401, "error"), (403, "error"), (404, "error"), (405, "error"),
                (413, "error"), (415, "error"), (429, "warning"), (500, "error"),
                (501, "error"), (502, "warning"), (503, "warning"), (504, "warning"),
                (418, "error"), (599, "error"),
            )
        ),
        pytest.param(Fault.REFUSED, {}, {}, {"collector.refused": "error"}, id="refused"),
        pytest.param(Fault.BLACKHOLE, {}, SLOW, {"traces.timeout": "error"}, id="blackhole"),
        pytest.param(Fault.RESET, {}, SLOW, {"traces.failed": "error"}, id="reset"),
        pytest.param(Fault.GARBAGE, {}, SLOW, {"traces.failed": "error"}, id="garbage"),
        pytest.param(Fault.WRONG_PROTOBUF, {}, {}, both("no_otlp", "warning"), id="protobuf"),
        pytest.param(Fault.PARTIAL_SUCCESS, {}, {}, both("rejected", "error"), id="partial"),
        pytest.param(Fault.REDIRECT, {}, {}, both("answer", "error"), id="redirect"),
        pytest.param(Fault.ENDLESS_HEAD, {}, SLOW, {"traces.timeout": "error"}, id="endless-head"),
    ],
)  # fmt: skip
def test_faults_of_a_collector(
    sink: OtlpSink, fault: Fault, measures: dict[str, Any], options: dict[str, Any],
    expected: dict[str, str],
) -> None:  # fmt: skip
    """Each way to be a bad collector is told by its name."""
    sink.behave(fault, **measures)
    assert bad(examine(sink.url, **options)) == expected


@pytest.mark.parametrize(
    ("code", "check", "level"),
    [
        pytest.param(code, f"grpc_{code.name.lower()}", level, id=code.name)
        for code, level in (
            (grpc.StatusCode.UNAUTHENTICATED, "error"),
            (grpc.StatusCode.PERMISSION_DENIED, "error"),
            (grpc.StatusCode.UNIMPLEMENTED, "error"),
            (grpc.StatusCode.RESOURCE_EXHAUSTED, "warning"),
            (grpc.StatusCode.UNAVAILABLE, "warning"),
            (grpc.StatusCode.DATA_LOSS, "warning"),
            (grpc.StatusCode.FAILED_PRECONDITION, "error"),
        )
    ],
)
def test_faults_of_a_collector_of_grpc(
    grpc_sink: GrpcSink, code: grpc.StatusCode, check: str, level: str
) -> None:
    """Each code of gRPC is told by its name."""
    grpc_sink.behave(Fault.STATUS, status=code.value[0])
    assert bad(examine(grpc_sink.url, **GRPC_PROTOCOL)) == both(check, level)


def test_http_sent_to_grpc(grpc_sink: GrpcSink) -> None:
    """HTTP for a port of gRPC is found before anything is sent, whatever the port's number."""
    findings = examine(grpc_sink.url)
    assert bad(findings) == {"collector.speaks_grpc": "error"}
    assert "OTEL_EXPORTER_OTLP_PROTOCOL=grpc" in findings[-1].advice
    assert grpc_sink.exchanges() == []


def test_grpc_sent_to_http(sink: OtlpSink) -> None:
    """gRPC for a port of HTTP is found, too."""
    findings = examine(sink.url, **GRPC_PROTOCOL)
    assert bad(findings) == {"collector.speaks_http": "error"}
    assert "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf" in findings[-1].advice


def test_the_port_of_grpc_is_known() -> None:
    """For 4317 without a protocol gRPC is spoken, and that is told."""
    with hold_port() as reserved:
        host = reserved.getsockname()[0]
        findings = examine(f"http://{host}:4317", send=False)
    assert findings[0].check == "collector.port"
    assert "gRPC is spoken" in findings[0].message


def test_another_port_that_is_open_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody listens on one port of OTLP and somebody on the other, that one is named."""
    with socket.create_server(("127.0.0.1", 0)) as other, hold_port() as closed:
        here, there = closed.getsockname()[1], other.getsockname()[1]
        monkeypatch.setitem(collector.OTHER_PORT, here, (there, "grpc"))
        findings = examine(f"http://127.0.0.1:{here}")
    assert bad(findings) == {"collector.refused": "error"}
    assert f"Port {there} is open" in findings[-1].advice


def test_a_name_that_does_not_resolve() -> None:
    """A host that nobody knows is told from one that does not answer."""
    assert bad(examine("http://no-such-host.invalid:4318")) == {"collector.name": "error"}


def test_a_proxy_of_the_environment_is_told(
    sink: OtlpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the environment names a proxy, it is told, and the test goes the same way."""
    monkeypatch.setenv("http_proxy", sink.url)
    monkeypatch.delenv("no_proxy", raising=False)
    findings = examine("http://collector.invalid:4318")
    assert findings[0].check == "collector.proxy"
    assert {each.path for each in sink.exchanges()} == {
        "http://collector.invalid:4318/v1/traces", "http://collector.invalid:4318/v1/metrics",
    }  # fmt: skip


def test_no_proxy_of_the_environment(sink: OtlpSink, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host in no_proxy is asked directly, and no proxy is reported."""
    monkeypatch.setenv("http_proxy", sink.url)
    monkeypatch.setenv("no_proxy", "localhost,collector.invalid")
    findings = examine("http://collector.invalid:4318")
    assert bad(findings) == {"collector.name": "error"}
    assert sink.exchanges() == []


Case = Callable[[Authority], Any]


@pytest.mark.parametrize(
    ("issue", "words", "asks_clients", "expected"),
    [
        # The authority of the tests issues for two days.
        pytest.param(lambda a: a.issue("good"), (TRUSTED,), False, EXPIRES, id="good"),
        pytest.param(
            lambda a: a.issue("good"), (), False,
            {"collector.tls_unknown_authority": "error"}, id="unknown-authority",
        ),
        pytest.param(
            lambda a: a.issue("other", "DNS:elsewhere.example"), (TRUSTED,), False,
            {"collector.tls_wrong_host": "error"}, id="wrong-host",
        ),
        pytest.param(
            lambda a: a.self_signed("self"), (), False,
            {"collector.tls_self_signed": "error"}, id="self-signed",
        ),
        pytest.param(
            lambda a: a.issue("good"), (TRUSTED,), True,
            {**EXPIRES, "collector.tls_client_wanted": "error"}, id="client-wanted",
        ),
        pytest.param(
            lambda a: a.issue("good"), (TRUSTED, STRANGER), True,
            {**EXPIRES, "collector.tls_client_refused": "error"}, id="client-refused",
        ),
        pytest.param(lambda a: a.issue("good"), (TRUSTED, CLIENT), True, EXPIRES, id="client-good"),
    ],
)  # fmt: skip
def test_tls(
    authority: Authority, issue: Case, words: tuple[str, ...], asks_clients: bool,
    expected: dict[str, str],
) -> None:  # fmt: skip
    """Each fault of TLS is told by its name, and nothing is sent."""
    clients = authority.certificate if asks_clients else None
    with OtlpSink(issue(authority), clients) as sink:
        assert bad(examine(sink.url, **tls_settings(authority, *words))) == expected
        assert bool(sink.spans()) == (expected == EXPIRES)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param((TRUSTED, CLIENT), EXPIRES, id="good"),
        pytest.param(
            (TRUSTED, STRANGER), {**EXPIRES, "collector.tls_client_refused": "error"}, id="refused"
        ),
        pytest.param((CLIENT,), {"collector.tls_unknown_authority": "error"}, id="unknown"),
        pytest.param((TRUSTED,), {**EXPIRES, "collector.tls_client_wanted": "error"}, id="wanted"),
    ],
)
def test_tls_of_grpc(
    authority: Authority, words: tuple[str, ...], expected: dict[str, str]
) -> None:
    """Over gRPC the certificates are looked at in the same way."""
    with GrpcSink(authority.issue("good"), authority.certificate) as sink:
        env = {**tls_settings(authority, *words), **GRPC_PROTOCOL}
        assert bad(examine(sink.url, **env)) == expected


def test_an_expired_certificate(authority: Authority) -> None:
    """A certificate whose time is over is told from one that is not trusted."""
    expired = authority.expired("old")
    with OtlpSink(expired) as sink:
        found = bad(examine(sink.url, **tls_settings(authority, TRUSTED)))
    assert found == {"collector.tls_expired": "error"}


def test_tls_to_a_port_without(sink: OtlpSink) -> None:
    """https:// for a port that speaks plain HTTP."""
    url = sink.url.replace("http:", "https:")
    assert bad(examine(url)) == {"collector.tls_not_spoken": "error"}


@pytest.mark.parametrize("kind", [OtlpSink, GrpcSink])
def test_no_tls_to_a_port_with(authority: Authority, kind: Any) -> None:
    """http:// for a port that speaks TLS."""
    with kind(authority.issue("good")) as sink:
        url = sink.url.replace("https:", "http:")
        env = GRPC_PROTOCOL if kind is GrpcSink else {}
        assert bad(examine(url, **env)) == {"collector.tls_wanted": "error"}


def test_http_with_tls_sent_to_grpc(authority: Authority) -> None:
    """HTTP for a port of gRPC inside TLS."""
    with GrpcSink(authority.issue("good")) as sink:
        found = bad(examine(sink.url, **tls_settings(authority, TRUSTED)))
    assert found == {**EXPIRES, "collector.speaks_grpc": "error"}


def test_certificate_files_are_looked_at(authority: Authority) -> None:
    """A key of another certificate, and a file that is none, are told before any connection."""
    good, other = authority.issue("good"), authority.issue("other")
    prefix = "OTEL_EXPORTER_OTLP_"
    pair = {prefix + "CLIENT_CERTIFICATE": str(good.path), prefix + "CLIENT_KEY": str(other.key)}
    with OtlpSink(good) as sink:
        mismatch = examine(sink.url, **pair)
        no_certificate = examine(sink.url, **{prefix + "CERTIFICATE": os.fspath(__file__)})
    assert bad(mismatch) == bad(no_certificate) == {"collector.tls_files": "error"}
    assert "must be the key of" in mismatch[-1].advice


def test_the_command_tells_it(sink: OtlpSink) -> None:
    """The process shows the finding with its advice, and ends with its status."""
    sink.behave(Fault.STATUS, status=401)
    env = {"OTEL_EXPORT_ENABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url}
    ran = invoke("doctor", "-q", **env)
    assert ran.status == 2
    assert "requires authentication (401)" in ran.out
    assert "-> Check the token in OTEL_EXPORTER_OTLP_HEADERS" in ran.out
    told = invoke("doctor", "--json", **env).json()
    assert told["status"] == 2
    assert "traces.http_401" in {each["check"] for each in told["findings"]}


def test_a_status_for_warnings() -> None:
    """Notes are status 0, warnings 1, errors 2."""
    levels = [Finding("a.b", "", "x", level) for level in ("good", "note", "warning", "error")]
    assert [exit_status(levels[: number + 1]) for number in range(4)] == [0, 0, 1, 2]
