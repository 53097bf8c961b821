"""A sink of OTLP over HTTP that keeps all it is sent, and misbehaves when told to.

    with OtlpSink() as sink:                  # a thread of this process
    with SinkProcess(folder) as sink:         # a process of its own, that can be killed
        exporter = OTLPSpanExporter(f"{sink.url}/v1/traces")
        ...
        sink.behave(Fault.SLOW, seconds=2)
        spans = sink.await_spans(3)

Both hold their port until they are closed, also while nobody listens on it. The process takes one
command a line on its standard input, answers each with a line, and ends with its input.
"""

from __future__ import annotations

import argparse
import base64
import json
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, TypeVar

from tests.support.certificates import Certificate
from tests.support.otlp_faults import (
    PROTOBUF,
    Behaviour,
    Fault,
    Stage,
    answer,
    hold,
    misbehave,
    reset,
)
from tests.support.otlp_records import DEADLINE, REQUESTS, Exchange, Received
from tests.support.paths import REPOSITORY
from tests.support.real_servers import hold_port

HANDSHAKE = "handshake"
Sink = TypeVar("Sink", bound="_Sink")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        self.behaviour, self.over = self.server.stage.look()
        if self.server.tls is not None and self.behaviour.fault is not Fault.BLACKHOLE:
            self.request.settimeout(DEADLINE)
            self.request.do_handshake()
        super().setup()

    def handle(self) -> None:
        if self.behaviour.fault is Fault.BLACKHOLE:
            self._keep(b"")
            hold(self.connection, self.over)
        else:
            super().handle()

    def do_POST(self) -> None:
        self.behaviour, self.over = self.server.stage.look()
        if self.behaviour.fault in (Fault.BLACKHOLE, Fault.RESET, Fault.REFUSED):
            self._keep(b"")
            self._drop()
        else:
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length)
            if len(body) < length:  # the client was killed while it sent
                self._keep(body)
                self._drop()
                return
            refusal = self._refusal() if self.behaviour.accepts else None
            self._keep(body, accepted=self.behaviour.accepts and refusal is None)
            if refusal is not None:
                answer(self, refusal)
            else:
                misbehave(self, self.behaviour, self.over)

    do_GET = do_POST  # what some clients make of a redirected POST

    def log_message(self, format: str, *args: object) -> None:
        """A request is no news."""

    def _refusal(self) -> int | None:
        """The response of a healthy collector to a request that is not OTLP."""
        if self.command != "POST":
            return 405
        if self.path.partition("?")[0] not in REQUESTS:
            return 404
        return None if self.headers.get("Content-Type") == PROTOBUF else 415

    def _drop(self) -> None:
        self.close_connection = True
        if self.behaviour.fault is Fault.BLACKHOLE:
            hold(self.connection, self.over)
        else:
            reset(self.connection)

    def _keep(self, body: bytes, accepted: bool = False) -> None:
        headers = {name.lower(): value for name, value in getattr(self, "headers", {}).items()}
        method, path = getattr(self, "command", ""), getattr(self, "path", "").partition("?")[0]
        fault = self.behaviour.fault.value
        self.server.keep(Exchange(method, path, headers, body, fault, accepted, time.time()))


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self, port: int, stage: Stage, keep: Callable[[Exchange], None],
        tls: ssl.SSLContext | None,
    ) -> None:  # fmt: skip
        self.stage, self.keep, self.tls = stage, keep, tls
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", port), _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        if self.tls is not None:  # the handshake is the handler's, in a thread of its own
            connection = self.tls.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        return connection, address

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def close_request(self, request: Any) -> None:
        self._open.discard(request)
        super().close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, ssl.SSLError):
            self.keep(Exchange("", "", {}, b"", HANDSHAKE, False, time.time()))
        elif not isinstance(error, OSError):  # a client may go at any time
            super().handle_error(request, client_address)

    @property
    def connections(self) -> int:
        return len(self._open)

    def close_all(self) -> None:
        """End the listening and every connection."""
        self.shutdown()
        self.server_close()
        for connection in list(self._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


class _Sink(Received, ABC):
    """The common part of both kinds of sink: a port that is theirs until they are closed."""

    def __init__(
        self, certificate: Certificate | None, clients: Certificate | None, port: int = 0
    ) -> None:
        self._reserved = hold_port(port)
        self.port: int = self._reserved.getsockname()[1]
        self._certificate, self._clients = certificate, clients

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        return f"http{'s' if self._certificate else ''}://127.0.0.1:{self.port}"

    def behave(self, fault: Fault = Fault.NONE, **measures: Any) -> None:
        """Misbehave from now on.

        Args:
            fault: how; none makes it good again.
            measures: see :class:`~tests.support.otlp_faults.Behaviour`.
        """
        self._change(Behaviour(fault, **measures))

    def present(self, certificate: Certificate) -> None:
        """Show another certificate from the next start on."""
        self._certificate = certificate

    @abstractmethod
    def start(self: Sink) -> Sink:
        """Listen."""

    @abstractmethod
    def stop(self) -> None:
        """Listen no more; the port stays reserved."""

    @abstractmethod
    def _change(self, behaviour: Behaviour) -> None: ...

    def __enter__(self: Sink) -> Sink:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()
        self._reserved.close()


class OtlpSink(_Sink):
    """A sink in threads of this process.

    Args:
        certificate: makes it speak TLS.
        clients: the authority that must have issued a client's certificate.
        port: to listen on instead of one of its own.
        keep: is given every exchange; by default they are kept in memory.
    """

    def __init__(
        self,
        certificate: Certificate | None = None,
        clients: Certificate | None = None,
        port: int = 0,
        keep: Callable[[Exchange], None] | None = None,
    ) -> None:
        super().__init__(certificate, clients, port)
        self._exchanges: list[Exchange] = []
        self._keep = keep or self._exchanges.append
        self._stage = Stage()
        self._server: _Server | None = None

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return self._server.connections if self._server else 0

    def exchanges(self) -> list[Exchange]:
        return list(self._exchanges)

    def start(self) -> OtlpSink:
        """Listen."""
        tls = _context(self._certificate, self._clients) if self._certificate else None
        self._server = _Server(self.port, self._stage, self._keep, tls)
        serve = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        serve.start()
        return self

    def stop(self) -> None:
        """Listen no more, and end every connection; what was kept stays."""
        self._stage.change(self._stage.look()[0])
        if self._server is not None:
            self._server.close_all()
            self._server = None

    def _change(self, behaviour: Behaviour) -> None:
        self._stage.change(behaviour)
        if behaviour.fault is Fault.REFUSED:
            self.stop()
        elif self._server is None:
            self.start()


class SinkProcess(_Sink):
    """A sink in a process of its own, so that its work is not done by the test's interpreter.

    Args:
        folder: for what it receives; it outlives the process.
        certificate: makes it speak TLS.
        clients: the authority that must have issued a client's certificate.
    """

    def __init__(
        self,
        folder: Path,
        certificate: Certificate | None = None,
        clients: Certificate | None = None,
    ) -> None:
        super().__init__(certificate, clients)
        self._journal = folder / f"otlp-{self.port}"
        self._journal.touch()
        self._read = 0
        self._exchanges: list[Exchange] = []
        self._process: subprocess.Popen[str] | None = None

    def exchanges(self) -> list[Exchange]:
        with open(self._journal, "rb") as file:
            file.seek(self._read)
            for line in file:
                if line.endswith(b"\n"):  # else it is still being written
                    self._exchanges.append(_from_line(line))
                    self._read += len(line)
        return list(self._exchanges)

    def start(self) -> SinkProcess:
        """Start the process, on the same port as before; it listens when this returns."""
        command = [
            sys.executable,
            "-m",
            "tests.support.otlp_sink",
            str(self.port),
            str(self._journal),
        ]
        for option, each in (("--certificate", self._certificate), ("--clients", self._clients)):
            if each is not None:
                command += [option, str(each.path), str(each.key)]
        self._process = subprocess.Popen(
            command, cwd=REPOSITORY, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._await_answer()
        return self

    def stop(self) -> None:
        """End the process; what was kept stays."""
        self._end(lambda process: process.stdin and process.stdin.close())

    def kill(self) -> None:
        """Kill the process (SIGKILL), with whatever it is doing; :meth:`start` starts another."""
        self._end(lambda process: process.kill())

    def _change(self, behaviour: Behaviour) -> None:
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(json.dumps(behaviour.to_json()) + "\n")
        self._process.stdin.flush()
        self._await_answer()

    def _await_answer(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        assert self._process.stdout.readline() == "ok\n", "the sink has ended"

    def _end(self, how: Callable[[subprocess.Popen[str]], object]) -> None:
        if self._process is not None:
            how(self._process)
            self._process.wait(DEADLINE)
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    stream.close()
            self._process = None


def _context(certificate: Certificate, clients: Certificate | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.path, certificate.key)
    if clients is not None:
        context.load_verify_locations(clients.path)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _to_line(exchange: Exchange) -> bytes:
    values = {**asdict(exchange), "body": base64.b64encode(exchange.body).decode()}
    return json.dumps(values).encode() + b"\n"


def _from_line(line: bytes) -> Exchange:
    values = json.loads(line)
    return Exchange(**{**values, "body": base64.b64decode(values["body"])})


def main() -> None:
    """Serve until the standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("journal", type=Path)
    parser.add_argument("--certificate", nargs=2, type=Path)
    parser.add_argument("--clients", nargs=2, type=Path)
    given = parser.parse_args()
    certificate = Certificate(*given.certificate) if given.certificate else None
    clients = Certificate(*given.clients) if given.clients else None
    writing = threading.Lock()
    with open(given.journal, "ab", buffering=0) as journal:

        def keep(exchange: Exchange) -> None:
            with writing:
                journal.write(_to_line(exchange))

        with OtlpSink(certificate, clients, given.port, keep) as sink:
            print("ok", flush=True)
            for line in sys.stdin:
                sink._change(Behaviour.from_json(json.loads(line)))
                print("ok", flush=True)


if __name__ == "__main__":
    main()
