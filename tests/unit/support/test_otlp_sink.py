"""The sinks keep what the official exporters send, and misbehave on the wire as they are told."""

from __future__ import annotations

import gzip
import http.client
import socket
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (
    OTLPMetricExporter as GrpcMetricExporter,
)
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (
    OTLPSpanExporter as GrpcSpanExporter,
)
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from tests.support.certificates import Authority, Certificate
from tests.support.otlp_faults import PROTOBUF, Fault
from tests.support.otlp_fixtures import (  # noqa: F401 - fixtures
    authority,
    grpc_sink,
    patient_exporters,
    sink,
    sink_process,
)
from tests.support.otlp_grpc_sink import GrpcSink
from tests.support.otlp_records import LOGS, METRICS, TRACES
from tests.support.otlp_sink import HANDSHAKE, OtlpSink, SinkProcess
from tests.support.sdk_sources import make_metrics, make_spans, send
from tests.support.waiting import DEADLINE, eventually

LABELS = frozenset({("method", "GET"), ("status_code", "200"), ("path", "/avatar/{digest}")})
BOTH = pytest.mark.parametrize("any_sink", ["thread", "process"], indirect=True)
THREAD = pytest.mark.parametrize(
    "any_sink", ["thread", pytest.param("process", marks=pytest.mark.slow)], indirect=True
)
AnySink = OtlpSink | SinkProcess


@pytest.fixture
def any_sink(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AnySink]:
    """A sink in a thread or in a process of its own."""
    with OtlpSink() if request.param == "thread" else SinkProcess(tmp_path) as started:
        yield started


def exporter(sink: AnySink, **options: object) -> OTLPSpanExporter:  # noqa: F811
    return OTLPSpanExporter(f"{sink.url}{TRACES}", **options)


def post(sink: AnySink) -> Answered:  # noqa: F811
    """One request of a client that neither retries nor follows anything."""
    connection = http.client.HTTPConnection("127.0.0.1", sink.port, timeout=DEADLINE)
    try:
        connection.request("POST", TRACES, encode_spans(make_spans()).SerializeToString(),
                           {"Content-Type": PROTOBUF})  # fmt: skip
        return Answered(connection.getresponse())
    finally:
        connection.close()


class Answered:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status, self.headers, self.body = response.status, response.headers, response.read()


@BOTH
def test_spans_are_kept_whole(any_sink: AnySink) -> None:
    """Names, kinds, ids, attributes and the resource of every span are as they were made."""
    made = make_spans(2)
    assert send(exporter(any_sink, headers={"X-Tenant": "one"}), made)
    spans = any_sink.await_spans(4)
    assert [span.name for span in spans] == [span.name for span in made]
    assert [f"{span.context.span_id:016x}" for span in made] == [span.span_id for span in spans]
    operation, server = spans[:2]
    assert (operation.kind, server.kind) == ("INTERNAL", "SERVER")
    assert (operation.parent_id, server.parent_id) == (server.span_id, "")
    assert operation.trace_id == server.trace_id == f"{made[0].context.trace_id:032x}"
    assert server.attributes == {"http.method": "GET", "ivatar.avatar_size": 80}
    assert server.resource["service.instance.id"] == "host-1"
    assert server.scope == "tests"
    (exchange,) = any_sink.exchanges()
    assert (exchange.method, exchange.path) == ("POST", TRACES)
    assert exchange.headers["x-tenant"] == "one"
    assert exchange.content == encode_spans(made).SerializeToString()


@THREAD
def test_metrics_are_kept_whole(any_sink: AnySink) -> None:
    """The newest point of each series can be asked for."""
    for count in (3, 5):
        to = OTLPMetricExporter(f"{any_sink.url}{METRICS}")
        assert send(to, make_metrics(count, [0.05, 0.5, 5.0]))
    assert len(any_sink.await_metrics(4)) == 4
    assert any_sink.newest("ivatar_requests_total", "host-1")[LABELS].as_int == 5
    histogram = any_sink.newest("ivatar_request_duration_seconds")[LABELS]
    assert list(histogram.bucket_counts) == [1, 1, 1]
    assert any_sink.newest("ivatar_requests_total", "host-2") == {}


@pytest.mark.parametrize("compression", list(Compression), ids=lambda each: each.value)
def test_compressions(sink: OtlpSink, compression: Compression) -> None:  # noqa: F811
    """Bodies come as they were sent, and are taken apart whatever their compression."""
    assert send(exporter(sink, compression=compression), make_spans())
    assert len(sink.spans()) == 2
    (exchange,) = sink.exchanges()
    unpack = {"gzip": gzip.decompress, "deflate": zlib.decompress}.get(compression.value, bytes)
    assert unpack(exchange.body) == exchange.content


@pytest.mark.parametrize(
    ("method", "path", "content_type", "status"),
    [
        pytest.param("POST", "/v1/nothing", PROTOBUF, 404, id="path"),
        pytest.param("POST", TRACES, "application/json", 415, id="type"),
        pytest.param("GET", TRACES, PROTOBUF, 405, id="method"),
        pytest.param("POST", LOGS, PROTOBUF, 200, id="logs"),
    ],
)
def test_only_otlp_is_accepted(
    sink: OtlpSink, method: str, path: str, content_type: str, status: int  # noqa: F811
) -> None:  # fmt: skip
    """A request that no collector would take is refused, and told apart."""
    connection = http.client.HTTPConnection("127.0.0.1", sink.port)
    connection.request(method, path, b"", {"Content-Type": content_type})
    assert connection.getresponse().status == status
    connection.close()
    assert [exchange.accepted for exchange in sink.exchanges()] == [status == 200]


@THREAD
@pytest.mark.parametrize(
    ("fault", "arrives"),
    [
        pytest.param(Fault.REFUSED, False, id="refused"),
        pytest.param(Fault.BLACKHOLE, False, id="blackhole"),
        pytest.param(Fault.SLOW, True, id="slow"),
        pytest.param(Fault.RESET, False, id="reset"),
        pytest.param(Fault.STATUS, False, id="503"),
        pytest.param(Fault.GARBAGE, False, id="garbage"),
    ],
)
def test_the_official_exporter_meets_a_fault(
    any_sink: AnySink, fault: Fault, arrives: bool
) -> None:
    """It fails where it should; what it sends when all is good again arrives."""
    any_sink.behave(fault, seconds=0.2)
    assert send(exporter(any_sink, timeout=None if arrives else 0.5), make_spans()) is arrives
    if fault is not Fault.REFUSED:
        any_sink.await_exchanges(1)  # else it may be met by what comes next
    assert len(any_sink.spans()) == 2 * arrives
    any_sink.behave()
    made = make_spans(3)
    assert send(exporter(any_sink), made)
    # An attempt that was given up may arrive now, too.
    assert {span.span_id for span in any_sink.spans()} >= {
        f"{span.context.span_id:016x}" for span in made
    }
    faults = {exchange.fault for exchange in any_sink.exchanges()}
    assert faults == {"none"} | ({fault.value} - {Fault.REFUSED.value})


@THREAD
def test_refused_also_ends_connections_that_were_open(any_sink: AnySink) -> None:
    """A client that kept its connection cannot go on either."""
    connection = http.client.HTTPConnection("127.0.0.1", any_sink.port, timeout=DEADLINE)
    connection.request("POST", TRACES, b"", {"Content-Type": PROTOBUF})
    assert connection.getresponse().read() == b""
    any_sink.behave(Fault.REFUSED)
    assert connection.sock.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        connection.connect()
    connection.close()


def test_a_blackhole_says_nothing(sink: OtlpSink) -> None:  # noqa: F811
    """No byte comes until it is over; then the connection is closed."""
    sink.behave(Fault.BLACKHOLE)
    with socket.create_connection(("127.0.0.1", sink.port)) as client:
        client.sendall(b"POST /v1/traces HTTP/1.1\r\n")
        sink.await_exchanges(1)
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
        sink.behave()
        client.settimeout(DEADLINE)
        with suppress(ConnectionResetError):  # what was unread makes it so
            assert client.recv(1) == b""
    assert sink.spans() == []


def test_a_blackhole_lets_a_client_go(sink: OtlpSink) -> None:  # noqa: F811
    """Who hangs up is not held: its thread ends."""
    sink.behave(Fault.BLACKHOLE)
    with socket.create_connection(("127.0.0.1", sink.port)) as client:
        client.sendall(b"POST /v1/traces HTTP/1.1\r\n")
        sink.await_exchanges(1)
        assert sink.connections == 1
    eventually(lambda: sink.connections == 0)


def test_a_status_with_its_headers(sink: OtlpSink) -> None:  # noqa: F811
    """An answer of 429 bears the ``Retry-After`` that was asked for."""
    sink.behave(Fault.STATUS, status=429, headers={"Retry-After": "7"})
    answered = post(sink)
    assert (answered.status, answered.headers["Retry-After"]) == (429, "7")


def test_a_reset_is_one(sink: OtlpSink) -> None:  # noqa: F811
    """The client sees RST, not the end of an answer."""
    sink.behave(Fault.RESET)
    with socket.create_connection(("127.0.0.1", sink.port), timeout=DEADLINE) as client:
        # Nothing is left unread, which would make any end of a connection a reset.
        client.sendall(b"POST /v1/traces HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            client.recv(1)


def test_garbage_is_no_http(sink: OtlpSink) -> None:  # noqa: F811
    """The status line cannot be read."""
    sink.behave(Fault.GARBAGE)
    with pytest.raises(http.client.BadStatusLine):
        post(sink)


def test_a_wrong_protobuf(sink: OtlpSink) -> None:  # noqa: F811
    """The answer is 200, and its body cannot be parsed."""
    sink.behave(Fault.WRONG_PROTOBUF)
    answered = post(sink)
    assert answered.status == 200
    with pytest.raises(Exception, match=r"(?i)pars"):
        ExportTraceServiceResponse.FromString(answered.body)


def test_a_partial_success(sink: OtlpSink) -> None:  # noqa: F811
    """The answer is 200 and tells how many were rejected, and why."""
    sink.behave(Fault.PARTIAL_SUCCESS, rejected=2)
    said = ExportTraceServiceResponse.FromString(post(sink).body).partial_success
    assert (said.rejected_spans, said.error_message) == (2, "too many")


@pytest.mark.parametrize("location", ["", "http://elsewhere.invalid/v1/traces"], ids=repr)
def test_a_redirect(sink: OtlpSink, location: str) -> None:  # noqa: F811
    """It leads to itself, or where it is told to."""
    sink.behave(Fault.REDIRECT, location=location)
    answered = post(sink)
    assert answered.status == 302
    assert answered.headers["Location"] == (location or f"{sink.url}{TRACES}")


@THREAD
@pytest.mark.parametrize("fault", [Fault.ENDLESS, Fault.ENDLESS_HEAD])
def test_an_endless_answer_ends_with_the_fault(any_sink: AnySink, fault: Fault) -> None:
    """Bytes come for as long as the fault holds, and not longer."""
    any_sink.behave(fault, chunk=512, pause=0.001)
    with socket.create_connection(("127.0.0.1", any_sink.port), timeout=DEADLINE) as client:
        client.sendall(b"POST /v1/traces HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
        received = b""
        while len(received) < 300:
            more = client.recv(4096)
            assert more, received
            received += more
        assert received.startswith(b"HTTP/1.1 200 OK\r\n")
        assert (b"\r\n\r\n" in received) is (fault is Fault.ENDLESS)
        any_sink.behave()
        eventually(lambda: not client.recv(4096))


def test_a_killed_process_keeps_what_it_was_sent(sink_process: SinkProcess) -> None:  # noqa: F811
    """Killed and started again, it listens on the same port and goes on."""
    assert send(exporter(sink_process), make_spans())
    sink_process.kill()
    assert send(exporter(sink_process, timeout=0.5), make_spans()) is False
    sink_process.start()
    assert send(exporter(sink_process), make_spans())
    assert len(sink_process.spans()) == 4


@pytest.mark.parametrize("kind", ["thread", pytest.param("process", marks=pytest.mark.slow)])
def test_tls_with_client_certificates(tmp_path: Path, authority: Authority, kind: str) -> None:  # noqa: F811
    """A client with a certificate of the authority is let in; one without is not."""
    pair = (authority.issue("sink"), authority.certificate)
    client = authority.issue("client")
    with OtlpSink(*pair) if kind == "thread" else SinkProcess(tmp_path, *pair) as tls:
        trusting = {"certificate_file": str(authority.certificate.path)}
        known = {
            "client_certificate_file": str(client.path),
            "client_key_file": str(client.key),
        }
        assert send(exporter(tls, **trusting, **known), make_spans())
        assert send(exporter(tls, **trusting, timeout=2.0), make_spans()) is False
        faults = {exchange.fault for exchange in tls.await_exchanges(2)}
        assert (len(tls.spans()), faults) == (2, {"none", HANDSHAKE})


@pytest.mark.parametrize("wrong", ["self-signed", "elsewhere"])
def test_tls_with_a_wrong_certificate(authority: Authority, wrong: str) -> None:  # noqa: F811
    """The official exporter does not send to it."""
    certificate: Certificate = (
        authority.self_signed(wrong) if wrong == "self-signed"
        else authority.issue(wrong, "DNS:elsewhere.invalid")
    )  # fmt: skip
    with OtlpSink(certificate) as tls:
        to = exporter(tls, timeout=2.0, certificate_file=str(authority.certificate.path))
        assert send(to, make_spans()) is False
        assert tls.spans() == []
        assert {exchange.fault for exchange in tls.await_exchanges(1)} == {HANDSHAKE}


def test_grpc(grpc_sink: GrpcSink) -> None:  # noqa: F811
    """Spans and metrics of the official gRPC exporters are kept in the same way."""
    to = GrpcSpanExporter(
        grpc_sink.url, insecure=True, headers={"x-tenant": "one"},
        compression=grpc.Compression.Gzip,
    )  # fmt: skip
    assert send(to, make_spans())
    assert send(GrpcMetricExporter(grpc_sink.url, insecure=True), make_metrics())
    assert [span.kind for span in grpc_sink.spans()] == ["INTERNAL", "SERVER"]
    assert grpc_sink.newest("ivatar_requests_total")[LABELS].as_int == 3
    assert grpc_sink.exchanges()[0].headers["x-tenant"] == "one"


@pytest.mark.parametrize("fault", [Fault.STATUS, Fault.BLACKHOLE, Fault.REFUSED])
def test_a_fault_of_grpc(grpc_sink: GrpcSink, fault: Fault) -> None:  # noqa: F811
    """The official exporter fails, and what it sends when all is good again arrives."""
    grpc_sink.behave(fault, status=grpc.StatusCode.PERMISSION_DENIED.value[0])
    to = GrpcSpanExporter(grpc_sink.url, insecure=True, timeout=1)
    assert send(to, make_spans()) is False
    if fault is not Fault.REFUSED:
        grpc_sink.await_exchanges(1)  # else it may be met by what comes next
    assert grpc_sink.spans() == []
    grpc_sink.behave()
    assert send(GrpcSpanExporter(grpc_sink.url, insecure=True), make_spans())
    assert len(grpc_sink.spans()) == 2


def test_grpc_over_tls_with_client_certificates(authority: Authority) -> None:  # noqa: F811
    """A client with a certificate of the authority is let in."""
    client = authority.issue("client")
    with GrpcSink(authority.issue("sink"), authority.certificate) as tls:
        credentials = grpc.ssl_channel_credentials(
            authority.certificate.path.read_bytes(),
            client.key.read_bytes(),
            client.path.read_bytes(),
        )
        assert send(GrpcSpanExporter(tls.url, credentials=credentials), make_spans())
        assert len(tls.spans()) == 2
