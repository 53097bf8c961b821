"""A sink of OTLP over gRPC, in threads of this process.

    with GrpcSink() as sink:
        exporter = OTLPSpanExporter(sink.url, insecure=True)
        ...
        spans = sink.await_spans(3)
        sink.behave(Fault.STATUS, status=grpc.StatusCode.UNAVAILABLE.value[0])

Where the status of a fault is asked for, it is the number of gRPC's own code.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc

from tests.support.certificates import Certificate
from tests.support.otlp_faults import Behaviour, Fault, Stage, partial_success
from tests.support.otlp_records import LOGS, METRICS, RESPONSES, TRACES, Exchange, Received
from tests.support.real_servers import hold_port

SERVICES = {
    TRACES: "opentelemetry.proto.collector.trace.v1.TraceService",
    METRICS: "opentelemetry.proto.collector.metrics.v1.MetricsService",
    LOGS: "opentelemetry.proto.collector.logs.v1.LogsService",
}
CODES = {code.value[0]: code for code in grpc.StatusCode}
Handler = Callable[[bytes, grpc.ServicerContext], bytes]
Trailers = tuple[tuple[str, bytes], ...]


class GrpcSink(Received):
    """A sink whose exchanges have OTLP/HTTP's paths, and gRPC's metadata as headers.

    Args:
        certificate: makes it speak TLS.
        clients: the authority that must have issued a client's certificate.
    """

    def __init__(
        self, certificate: Certificate | None = None, clients: Certificate | None = None
    ) -> None:
        self._reserved = hold_port()
        self._port = self._reserved.getsockname()[1]
        self._certificate, self._clients = certificate, clients
        self._exchanges: list[Exchange] = []
        self._stage = Stage()
        self._trailers: Trailers = ()
        self._server: grpc.Server | None = None

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"127.0.0.1:{self._port}"

    @property
    def url(self) -> str:
        """The same as a URL."""
        return f"http{'s' if self._certificate else ''}://{self.address}"

    def exchanges(self) -> list[Exchange]:
        return list(self._exchanges)

    def behave(
        self,
        fault: Fault = Fault.NONE,
        status: int = 14,
        seconds: float = 5.0,
        rejected: int = 1,
        trailers: Trailers = (),
    ) -> None:
        """Misbehave from now on.

        Args:
            fault: one of NONE, REFUSED, BLACKHOLE (here: reads, never responds), SLOW, STATUS,
                PARTIAL_SUCCESS and WRONG_PROTOBUF.
            status: the code of the response.
            seconds: until the response.
            rejected: items that it rejects (PARTIAL_SUCCESS).
            trailers: of the response (STATUS).
        """
        self._trailers = trailers
        self._stage.change(Behaviour(fault, status=status, seconds=seconds, rejected=rejected))
        if fault is Fault.REFUSED:
            self.stop()
        elif self._server is None:
            self.start()

    def start(self) -> GrpcSink:
        """Listen."""
        self._server = grpc.server(ThreadPoolExecutor(16))
        for path, service in SERVICES.items():
            export = grpc.unary_unary_rpc_method_handler(self._handler(path))
            methods = grpc.method_handlers_generic_handler(service, {"Export": export})
            self._server.add_generic_rpc_handlers((methods,))
        if self._certificate is None:
            self._server.add_insecure_port(self.address)
        else:
            self._server.add_secure_port(self.address, self._credentials(self._certificate))
        self._server.start()
        return self

    def stop(self) -> None:
        """Listen no more, and end every connection; what was kept stays."""
        self._stage.change(self._stage.look()[0])
        if self._server is not None:
            self._server.stop(0).wait()
            self._server = None

    def __enter__(self) -> GrpcSink:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()
        self._reserved.close()

    def _handler(self, path: str) -> Handler:
        empty = RESPONSES[path]().SerializeToString()

        def export(body: bytes, context: grpc.ServicerContext) -> bytes:
            behaviour, over = self._stage.look()
            headers = {key: str(value) for key, value in context.invocation_metadata()}
            headers.pop("content-encoding", None)  # gRPC has unpacked it
            fault, accepted = behaviour.fault.value, behaviour.accepts
            self._exchanges.append(
                Exchange("POST", path, headers, body, fault, accepted, time.time())
            )
            if behaviour.fault is Fault.SLOW:
                over.wait(behaviour.seconds)
            elif behaviour.fault is Fault.BLACKHOLE:
                over.wait()
            elif behaviour.fault is Fault.STATUS:
                context.set_trailing_metadata(self._trailers)
                context.abort(CODES[behaviour.status], "as told")
            elif behaviour.fault is Fault.WRONG_PROTOBUF:
                return b"\xff" * 64
            elif behaviour.fault is Fault.PARTIAL_SUCCESS:
                return partial_success(path, behaviour.rejected)
            return empty

        return export

    def _credentials(self, certificate: Certificate) -> grpc.ServerCredentials:
        clients = self._clients.path.read_bytes() if self._clients else None
        pair = (certificate.key.read_bytes(), certificate.path.read_bytes())
        return grpc.ssl_server_credentials([pair], clients, self._clients is not None)
