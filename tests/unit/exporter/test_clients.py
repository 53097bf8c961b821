"""Clients that send an encoded request once: the outcome, whatever the collector responds."""

from __future__ import annotations

import io
import json
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from google.rpc.error_details_pb2 import RetryInfo
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from avatar_telemetry import Settings
from avatar_telemetry.config.destinations import pushes_metrics
from avatar_telemetry.exporter import clients as clients_module
from avatar_telemetry.exporter.clients import (
    MAX_WAIT,
    RETRY_INFO,
    USER_AGENT,
    Client,
    ConsoleClient,
    GrpcClient,
    HttpClient,
    Outcome,
    make_clients,
)
from avatar_telemetry.exporter.session import MAX_RESPONSE
from tests.support.certificates import Authority
from tests.support.otlp_faults import Fault
from tests.support.otlp_fixtures import authority, grpc_sink, sink
from tests.support.otlp_grpc_sink import CODES, GrpcSink
from tests.support.otlp_sink import OtlpSink
from tests.support.real_servers import hold_port
from tests.support.sdk_sources import make_logs, make_metrics, make_spans
from tests.support.waiting import PATIENCE, eventually

__all__ = ["authority", "grpc_sink", "sink"]
SPANS: bytes = encode_spans(make_spans()).SerializeToString()
LOGS: bytes = encode_logs(make_logs("one", "two")).SerializeToString()
METRICS: bytes = encode_metrics(make_metrics()).SerializeToString()
REQUESTS = {"traces": SPANS, "logs": LOGS, "metrics": METRICS}
PREFIX = "OTEL_EXPORTER_OTLP_"
NOW = 1_700_000_000.0
ACCEPTED = Outcome(True)
Clients = Callable[..., Client]


@pytest.fixture
def clients() -> Iterator[Clients]:
    """Makes clients from an endpoint and other variables of OTLP, and closes them."""
    made: list[Client] = []

    def make(url: str, signal: Any = "traces", **variables: str) -> Client:
        environ = {PREFIX + name: value for name, value in variables.items()}
        environ |= {PREFIX + "ENDPOINT": url, "OTEL_LOGS_EXPORTER": "otlp"}
        settings = Settings.from_env(environ)
        made.extend(make_clients(settings, signal))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        ("otlp", [HttpClient]),
        ("console", [ConsoleClient]),
        ("otlp,console", [HttpClient, ConsoleClient]),
        ("none", []),
        ("prometheus", []),
    ],
)
def test_clients_by_name(names: str, classes: list[type]) -> None:
    """OTEL_METRICS_EXPORTER names them; without one nothing is pushed."""
    environ = {"OTEL_EXPORT_ENABLED": "true", "OTEL_METRICS_EXPORTER": names}
    settings = Settings.from_env(environ)
    made = make_clients(settings, "metrics")
    assert [type(each) for each in made] == classes
    for client in made:
        client.close()
    assert pushes_metrics(settings) == bool(classes)
    assert not pushes_metrics(Settings.from_env({"OTEL_METRICS_EXPORTER": names}))


# HTTP


@pytest.mark.parametrize("compression", ["none", "gzip", "deflate"])
def test_spans_arrive(sink: OtlpSink, clients: Clients, compression: str) -> None:
    """A request arrives as it was given, compressed or not, with the headers of the settings."""
    client = clients(sink.url, COMPRESSION=compression, HEADERS="x-mine=yes,user-agent=own")
    assert isinstance(client, HttpClient)
    assert client.send(SPANS, PATIENCE) == ACCEPTED
    (exchange,) = sink.exchanges()
    assert exchange.path == "/v1/traces"
    assert exchange.content == SPANS
    assert exchange.headers["x-mine"] == "yes"
    assert exchange.headers["user-agent"] == "own"
    assert exchange.headers.get("content-encoding", "none") == compression


@pytest.mark.parametrize("signal", REQUESTS)
def test_paths(sink: OtlpSink, clients: Clients, signal: str) -> None:
    """Each signal has a path of its own; the user agent names the exporter."""
    assert clients(sink.url, signal).send(REQUESTS[signal], PATIENCE) == ACCEPTED
    (exchange,) = sink.exchanges()
    assert (exchange.path, exchange.content) == (f"/v1/{signal}", REQUESTS[signal])
    assert exchange.headers["user-agent"] == USER_AGENT


def test_a_connection_is_used_again(sink: OtlpSink, clients: Clients) -> None:
    """All requests of a client go over one connection, which it closes."""
    client = clients(sink.url)
    for _ in range(3):
        assert client.send(SPANS, PATIENCE).accepted
    assert sink.connections == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 413, 500, 501])
def test_a_refusal_is_final(sink: OtlpSink, clients: Clients, status: int) -> None:
    """A status that is not retryable means that the request is lost, whatever Retry-After says;
    instead of one that is too large, smaller ones may be accepted."""
    sink.behave(Fault.STATUS, status=status, headers={"Retry-After": "1"})
    outcome = clients(sink.url).send(SPANS, PATIENCE)
    assert (outcome.accepted, outcome.retry, outcome.wait) == (False, False, 0.0)
    assert outcome.too_large is (status == 413)
    assert outcome.error.startswith(f"HTTP status {status}")
    assert len(sink.exchanges()) == 1


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_collector_may_accept_later(sink: OtlpSink, clients: Clients, status: int) -> None:
    """The client makes one attempt; the request can be sent again."""
    sink.behave(Fault.STATUS, status=status)
    outcome = clients(sink.url).send(SPANS, PATIENCE)
    assert (outcome.accepted, outcome.retry, outcome.wait) == (False, True, 0.0)
    assert len(sink.exchanges()) == 1


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        pytest.param("0", 0, id="at once"),
        pytest.param(" 7 ", 7, id="seconds"),
        pytest.param("999999999", MAX_WAIT, id="for ever"),
        pytest.param("9" * 400, 0, id="a long number"),
        pytest.param("-5", 0, id="negative"),
        pytest.param(formatdate(NOW - 60, usegmt=True), 0, id="a date of the past"),
        pytest.param(formatdate(NOW + 1_500, usegmt=True), 1_500, id="a date"),
        pytest.param("Thu, 01 Jan 9999 00:00:00 GMT", MAX_WAIT, id="a far date"),
        pytest.param("soon", 0, id="a word"),
        pytest.param("nan", 0, id="no number"),
        pytest.param("Wed, 99 Nov 2026", 0, id="no date"),
        pytest.param("\u0663", 0, id="mojibake"),
    ],
)
def test_retry_after(
    sink: OtlpSink, clients: Clients, monkeypatch: pytest.MonkeyPatch, value: str, wait: float
) -> None:
    """The wait is that of the header, in seconds or as a date (RFC 9110), within bounds."""
    monkeypatch.setattr(clients_module, "time", SimpleNamespace(time=lambda: NOW))
    value = value.encode().decode("latin-1")
    sink.behave(Fault.STATUS, status=503, headers={"Retry-After": value})
    assert clients(sink.url).send(SPANS, PATIENCE).wait == wait


@pytest.mark.parametrize(
    ("rejected", "counted"),
    [pytest.param(2, 2, id="some"), pytest.param(-5, 0, id="negative"),
     pytest.param(1 << 40, 1 << 40, id="more than were sent")],
)  # fmt: skip
@pytest.mark.parametrize("signal", ["traces", "logs", "metrics"])
def test_partial_success(
    sink: OtlpSink, clients: Clients, signal: str, rejected: int, counted: int
) -> None:
    """A collector that accepts a request may reject items of it, for good."""
    sink.behave(Fault.PARTIAL_SUCCESS, rejected=rejected)
    outcome = clients(sink.url, signal).send(REQUESTS[signal], PATIENCE)
    assert outcome == Outcome(True, counted, error="too many")


def test_response_that_is_no_otlp(sink: OtlpSink, clients: Clients) -> None:
    """The status of a success counts, whatever its body is."""
    sink.behave(Fault.WRONG_PROTOBUF)
    assert clients(sink.url).send(SPANS, PATIENCE) == ACCEPTED


def test_redirect_is_refused(sink: OtlpSink, clients: Clients) -> None:
    """A redirect is not followed: headers with secrets would go elsewhere. The next attempt would
    be redirected, too, so there is none."""
    sink.behave(Fault.REDIRECT)
    outcome = clients(sink.url).send(SPANS, PATIENCE)
    assert (outcome.accepted, outcome.retry) == (False, False)
    assert "redirect" in outcome.error
    assert len(sink.exchanges()) == 1


@pytest.mark.parametrize(
    ("fault", "measures"),
    [
        pytest.param(Fault.REFUSED, {}, id="refused"),
        pytest.param(Fault.RESET, {}, id="reset"),
        pytest.param(Fault.GARBAGE, {}, id="no HTTP"),
        pytest.param(Fault.BLACKHOLE, {}, id="no response"),
        pytest.param(Fault.SLOW, {"seconds": PATIENCE / 2}, id="late response"),
        pytest.param(Fault.ENDLESS_HEAD, {"pause": 0.01}, id="endless head"),
    ],
)
def test_no_response(
    sink: OtlpSink, clients: Clients, fault: Fault, measures: dict[str, Any]
) -> None:
    """Without a response in time the outcome says so, and the request can be sent again."""
    sink.behave(fault, **measures)
    outcome = clients(sink.url).send(SPANS, 0.5)
    assert (outcome.accepted, outcome.retry) == (False, True)
    assert outcome.error


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.REFUSED, "ConnectionRefusedError: [Errno 111] Connection refused"),
        (Fault.GARBAGE, "BadStatusLine: "),
        (Fault.BLACKHOLE, "ReadTimeout: timed out"),
    ],
)
def test_error_of_a_connection(sink: OtlpSink, clients: Clients, fault: Fault, error: str) -> None:
    """It is the first cause alone, without the exceptions of the libraries and the URL."""
    sink.behave(fault)
    found = clients(sink.url).send(SPANS, 2.0).error
    assert found.startswith(error)
    assert "Connection" not in found.removeprefix(error)


def test_error_of_a_name(clients: Clients) -> None:
    """A name that does not resolve is reported by the resolver's own text."""
    error = clients("http://collector.invalid:4318").send(SPANS, PATIENCE).error
    assert error.startswith("gaierror: [Errno -")
    assert "invalid" not in error


def test_error_of_a_proxy(clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection to the proxy is not reported as one to the collector."""
    with hold_port() as bound:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{bound.getsockname()[1]}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        outcome = clients("http://collector.invalid:4318").send(SPANS, PATIENCE)
    assert outcome.error == "ProxyError: [Errno 111] Connection refused"


def test_error_of_a_certificate(authority: Authority, clients: Clients) -> None:
    """The reason of the verification is in the text."""
    with OtlpSink(authority.issue("server")) as sink:
        error = clients(sink.url).send(SPANS, PATIENCE).error
    assert error.startswith("SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED]")
    assert "HTTPSConnectionPool" not in error


def test_endless_response(sink: OtlpSink, clients: Clients) -> None:
    """Of a body that never ends no more than the limit is read."""
    sink.behave(Fault.ENDLESS, chunk=MAX_RESPONSE, pause=0.0)
    assert clients(sink.url).send(SPANS, PATIENCE).accepted


def test_name_that_cannot_be_resolved(clients: Clients) -> None:
    """A name without an address may have one later."""
    outcome = clients("http://collector.invalid:4318").send(SPANS, PATIENCE)
    assert (outcome.accepted, outcome.retry) == (False, True)


def test_the_next_request_arrives(sink: OtlpSink, clients: Clients) -> None:
    """A client whose attempt failed connects again."""
    client = clients(sink.url)
    sink.behave(Fault.RESET)
    assert not client.send(SPANS, PATIENCE).accepted
    sink.behave()
    assert client.send(SPANS, PATIENCE) == ACCEPTED


@contextmanager
def forward_proxy() -> Iterator[tuple[str, list[str]]]:
    """Yield the URL of a proxy that forwards nothing, and the request lines that it receives."""
    lines: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as file:
                lines.append(file.readline().decode())
                length = 0
                while line := file.readline().strip():
                    name, _, value = line.lower().partition(b": ")
                    length = int(value) if name == b"content-length" else length
                file.read(length)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", lines
        thread.join()


def test_through_a_proxy(clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    """``HTTP_PROXY`` is followed as by ``requests``."""
    with forward_proxy() as (url, lines):
        monkeypatch.setenv("HTTP_PROXY", url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        outcome = clients("http://collector.invalid:4318").send(SPANS, PATIENCE)
    assert outcome == ACCEPTED
    assert lines == ["POST http://collector.invalid:4318/v1/traces HTTP/1.1\r\n"]


@pytest.mark.parametrize("no_proxy", ["", "elsewhere.invalid", "localhost,collector.invalid"])
def test_hosts_without_a_proxy(
    sink: OtlpSink, clients: Clients, monkeypatch: pytest.MonkeyPatch, no_proxy: str
) -> None:
    """``http_proxy`` is used for the collector, unless ``no_proxy`` names its host."""
    monkeypatch.setenv("http_proxy", sink.url)
    monkeypatch.setenv("no_proxy", no_proxy)
    clients("http://collector.invalid:4318").send(SPANS, PATIENCE)
    paths = [] if "collector" in no_proxy else ["http://collector.invalid:4318/v1/traces"]
    assert [each.path for each in sink.exchanges()] == paths


def test_environment_of_the_process_does_not_matter(
    sink: OtlpSink, clients: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The settings decide, not what is in the environment by now."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://elsewhere.invalid:4318")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    assert clients(sink.url, "metrics").send(METRICS, PATIENCE).accepted
    assert "content-encoding" not in sink.exchanges()[0].headers


# TLS


def test_https_with_a_client_certificate(authority: Authority, clients: Clients) -> None:
    """The server's certificate is checked, and the client's is shown."""
    own = authority.issue("client")
    known = {"CLIENT_CERTIFICATE": str(own.path), "CLIENT_KEY": str(own.key)}
    trusted = {"CERTIFICATE": str(authority.certificate.path)}
    with OtlpSink(authority.issue("server"), clients=authority.certificate) as sink:
        assert clients(sink.url, **trusted, **known).send(SPANS, PATIENCE) == ACCEPTED
        for variables in (trusted, known):
            outcome = clients(sink.url, **variables).send(SPANS, PATIENCE)
            assert (outcome.accepted, outcome.retry) == (False, True)
        assert len([each for each in sink.exchanges() if each.accepted]) == 1


def test_certificate_files_that_cannot_be_used(
    tmp_path: Path, authority: Authority, clients: Clients
) -> None:
    """A file that was removed or is wrong fails the attempt, without an exception: it may be
    replaced."""
    file = tmp_path / "file.pem"
    known = {"CLIENT_CERTIFICATE": str(file), "CLIENT_KEY": str(file)}
    trusted = {"CERTIFICATE": str(authority.certificate.path)}
    unreadable = {"CERTIFICATE": str(file), "PROTOCOL": "grpc"}
    with OtlpSink(authority.issue("server")) as sink:
        for variables in ({"CERTIFICATE": str(file)}, {**trusted, **known}, unreadable):
            file.write_text("no certificate")
            client = clients(sink.url, **variables)
            outcomes = [client.send(SPANS, PATIENCE)]
            file.unlink()
            outcomes.append(client.send(SPANS, PATIENCE))
            for outcome in outcomes:
                assert (outcome.accepted, outcome.retry) == (False, True)
                assert outcome.error
        assert not any(each.accepted for each in sink.exchanges())


def test_grpc_over_tls_with_a_client_certificate(authority: Authority, clients: Clients) -> None:
    """The same over gRPC."""
    own = authority.issue("client")
    known = {"CLIENT_CERTIFICATE": str(own.path), "CLIENT_KEY": str(own.key), "PROTOCOL": "grpc"}
    trusted = str(authority.certificate.path)
    with GrpcSink(authority.issue("server"), clients=authority.certificate) as sink:
        client = clients(sink.url, CERTIFICATE=trusted, **known)
        assert client.send(SPANS, PATIENCE) == ACCEPTED
        outcome = clients(sink.url, CERTIFICATE=trusted, PROTOCOL="grpc").send(SPANS, PATIENCE)
        assert (outcome.accepted, outcome.retry) == (False, True)
        assert len(sink.exchanges()) == 1


# gRPC


def over_grpc(clients: Clients, sink: GrpcSink, signal: str = "traces", **variables: str) -> Client:
    client = clients(sink.url, signal, PROTOCOL="grpc", **variables)
    assert isinstance(client, GrpcClient)
    return client


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_spans_arrive_over_grpc(grpc_sink: GrpcSink, clients: Clients, compression: str) -> None:
    """The same bytes arrive, with the headers of the settings as metadata."""
    client = over_grpc(clients, grpc_sink, COMPRESSION=compression, HEADERS="X-Mine=yes")
    assert client.send(SPANS, PATIENCE) == ACCEPTED
    (exchange,) = grpc_sink.exchanges()
    assert exchange.body == SPANS
    assert exchange.headers["x-mine"] == "yes"
    assert USER_AGENT in exchange.headers["user-agent"]


def test_request_that_is_too_large_for_grpc(grpc_sink: GrpcSink, clients: Clients) -> None:
    """A server accepts 4 MiB by default; above that a smaller request may be accepted."""
    outcome = over_grpc(clients, grpc_sink).send(SPANS * (1 + (5 << 20) // len(SPANS)), PATIENCE)
    assert (outcome.accepted, outcome.retry, outcome.too_large) == (False, False, True)
    grpc_sink.behave(Fault.STATUS, status=8)
    assert not over_grpc(clients, grpc_sink).send(SPANS, PATIENCE).too_large


@pytest.mark.parametrize("signal", REQUESTS)
def test_methods(grpc_sink: GrpcSink, clients: Clients, signal: str) -> None:
    """Each signal has a method of its own."""
    assert over_grpc(clients, grpc_sink, signal).send(REQUESTS[signal], PATIENCE) == ACCEPTED
    (exchange,) = grpc_sink.exchanges()
    assert (exchange.path, exchange.body) == (f"/v1/{signal}", REQUESTS[signal])


RETRYABLE = {"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE",
             "DATA_LOSS"}  # fmt: skip


@pytest.mark.parametrize("code", [pytest.param(code, id=code.name) for code in CODES.values()][1:])
def test_grpc_statuses(grpc_sink: GrpcSink, clients: Clients, code: Any) -> None:
    """Which codes are worth another attempt is said by the OTLP specification."""
    grpc_sink.behave(Fault.STATUS, status=code.value[0])
    outcome = over_grpc(clients, grpc_sink).send(SPANS, PATIENCE)
    assert (outcome.accepted, outcome.retry, outcome.wait) == (False, code.name in RETRYABLE, 0.0)
    assert outcome.error == f"gRPC {code.name}: as told"
    assert len(grpc_sink.exchanges()) == 1


def retry_info(seconds: int, nanos: int = 0) -> bytes:
    info = RetryInfo()
    info.retry_delay.seconds, info.retry_delay.nanos = seconds, nanos
    return bytes(info.SerializeToString())


@pytest.mark.parametrize(
    ("trailer", "retry", "wait"),
    [
        pytest.param(retry_info(2, 500_000_000), True, 2.5, id="delay"),
        pytest.param(retry_info(-7), True, 0.0, id="negative"),
        pytest.param(retry_info(1 << 60), True, MAX_WAIT, id="for ever"),
        pytest.param(b"\xff" * 9, False, 0.0, id="garbage"),
    ],
)
def test_grpc_retry_delay(
    grpc_sink: GrpcSink, clients: Clients, trailer: bytes, retry: bool, wait: float
) -> None:
    """A collector whose resources are exhausted is asked again only where it says when."""
    grpc_sink.behave(Fault.STATUS, status=8, trailers=((RETRY_INFO, trailer),))
    outcome = over_grpc(clients, grpc_sink).send(SPANS, PATIENCE)
    assert (outcome.accepted, outcome.retry, outcome.wait) == (False, retry, wait)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        pytest.param(Fault.PARTIAL_SUCCESS, Outcome(True, 3, error="too many"), id="partial"),
        pytest.param(Fault.WRONG_PROTOBUF, ACCEPTED, id="no OTLP"),
    ],
)
def test_grpc_success(
    grpc_sink: GrpcSink, clients: Clients, fault: Fault, expected: Outcome
) -> None:
    """A partial success is honoured over gRPC, too."""
    grpc_sink.behave(fault, rejected=3)
    assert over_grpc(clients, grpc_sink).send(SPANS, PATIENCE) == expected


def test_grpc_without_a_response(grpc_sink: GrpcSink, clients: Clients) -> None:
    """An attempt ends by its timeout; a collector that comes back is connected to again."""
    client = over_grpc(clients, grpc_sink)
    grpc_sink.behave(Fault.BLACKHOLE)
    outcome = client.send(SPANS, 0.5)
    assert outcome.retry
    assert outcome.error.startswith("gRPC DEADLINE_EXCEEDED")
    grpc_sink.behave(Fault.REFUSED)
    assert client.send(SPANS, 0.5).retry
    grpc_sink.behave()
    eventually(lambda: client.send(SPANS, PATIENCE).accepted, "the next connection")


def test_grpc_client_that_was_closed(grpc_sink: GrpcSink, clients: Clients) -> None:
    """An attempt that begins after the end of the exporter fails without an exception."""
    client = over_grpc(clients, grpc_sink)
    client.close()
    assert client.send(SPANS, PATIENCE) == ACCEPTED
    client.close()
    assert not client.send(SPANS, PATIENCE).accepted
    assert len(grpc_sink.exchanges()) == 1


# The console


def test_console(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every item is one line of JSON on standard output, with its resource and scope."""
    output = io.StringIO()
    monkeypatch.setattr(sys, "stdout", output)
    client = ConsoleClient("traces")
    assert client.send(SPANS, PATIENCE) == ACCEPTED
    assert ConsoleClient("logs").send(LOGS, PATIENCE) == ACCEPTED
    assert ConsoleClient("metrics").send(METRICS, PATIENCE) == ACCEPTED
    client.close()
    lines = [json.loads(line) for line in output.getvalue().splitlines()]
    assert [line.get("name") for line in lines[:2]] == [
        "avatar.generate_png", "GET /avatar/{digest}",
    ]  # fmt: skip
    assert [line["body"]["stringValue"] for line in lines[2:4]] == ["one", "two"]
    assert [line["name"] for line in lines[4:]] == [
        "ivatar_requests_total", "ivatar_request_duration_seconds",
    ]  # fmt: skip
    assert all(line["resource"]["attributes"] for line in lines)
    assert lines[0]["scope"]["name"] == "tests"
    span = ExportTraceServiceRequest.FromString(SPANS).resource_spans[0].scope_spans[0].spans[0]
    assert lines[0]["traceId"] == span.trace_id.hex()
    assert lines[0]["spanId"] == span.span_id.hex()
    assert type(lines[0]["kind"]) is int


class _Closed(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError("broken pipe")


@pytest.mark.parametrize("output", [_Closed(), None], ids=["broken", "none"])
def test_console_that_is_gone(monkeypatch: pytest.MonkeyPatch, output: Any) -> None:
    """A standard output that nobody reads loses the batch; the exporter goes on."""
    if output is None:
        output = io.StringIO()
        output.close()
    monkeypatch.setattr(sys, "stdout", output)
    outcome = ConsoleClient("traces").send(SPANS, PATIENCE)
    assert (outcome.accepted, outcome.retry) == (False, False)


def test_console_of_what_is_no_request() -> None:
    """A request that cannot be parsed is lost, as with a collector."""
    outcome = ConsoleClient("traces").send(b"\xff" * 9, PATIENCE)
    assert (outcome.accepted, outcome.retry) == (False, False)
