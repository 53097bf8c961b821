"""A collector that counts: OTLP, Datadog and Sentry, in a process of its own.

    python -m benchmarks.sink

It answers at once and keeps what came; only a question for the counts takes it apart, so that it
takes little of the processor from what is measured. A span that came twice counts once. While it
is down it closes each connection without an answer.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
import urllib.request
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

REQUEST_METRIC = "http.server.duration"


def decoded(body: bytes, encoding: str) -> bytes:
    """A body without its Content-Encoding."""
    if encoding == "gzip":
        return gzip.decompress(body)
    return zlib.decompress(body) if encoding == "deflate" else body


def of_otlp_traces(body: bytes) -> tuple[set[bytes], int]:
    """The ids of the spans, and the number of the attributes on them."""
    message = ExportTraceServiceRequest.FromString(body)
    spans = [
        span
        for resource in message.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    return {span.span_id for span in spans}, sum(len(span.attributes) for span in spans)


def of_otlp_metrics(body: bytes) -> int:
    """The requests that the histogram of the WSGI instrumentation has seen."""
    message = ExportMetricsServiceRequest.FromString(body)
    return sum(
        point.count
        for resource in message.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == REQUEST_METRIC
        for point in metric.histogram.data_points
    )


def of_lines(body: bytes) -> int:
    """Transactions of Sentry: a header has the type."""
    heads = (line[:100] for line in body.splitlines())
    return sum(b'"type":"transaction"' in head and b'"length"' in head for head in heads)


class Received:
    """Everything that came."""

    def __init__(self) -> None:
        self.down = False
        self._waiting: list[tuple[str, bytes, str]] = []
        self._ids: set[bytes] = set()
        self._counts: Counter[str] = Counter(requests=0, spans=0, attributes=0, bytes=0)

    def add(self, path: str, body: bytes, headers: Any) -> None:
        """Keep a body for later."""
        traces = headers.get("X-Datadog-Trace-Count")
        if traces is not None:
            self._counts["spans"] += int(traces)
        elif path != "/info":
            self._waiting.append((path, body, headers.get("Content-Encoding", "")))

    def counts(self) -> dict[str, int]:
        """Return the counts of everything received so far."""
        waiting, self._waiting = self._waiting, []
        for path, body, encoding in waiting:
            self._counts["bytes"] += len(body)
            plain = decoded(body, encoding)
            if path.endswith("/v1/metrics"):  # they are cumulative
                self._counts["requests"] = max(of_otlp_metrics(plain), self._counts["requests"])
            elif path.endswith("/v1/traces"):
                ids, attributes = of_otlp_traces(plain)
                self._ids |= ids
                self._counts["attributes"] += attributes
            else:
                self._counts["spans"] += of_lines(plain)
        return {**self._counts, "spans": self._counts["spans"] + len(self._ids)}


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body of an answer leave in one packet
    received = Received()

    def do_GET(self) -> None:
        """Send the counts; ``/down`` makes the sink unavailable, ``/up`` available."""
        self.received.down = self.path == "/down" or (self.received.down and self.path != "/up")
        self._answer(json.dumps(self.received.counts()).encode())

    def do_POST(self) -> None:
        """Somebody's data."""
        body = self._body()
        if self.received.down:
            self.close_connection = True
            return
        self.received.add(self.path, body, self.headers)
        self._answer(b"{}" if "/v1/" not in self.path else b"")

    do_PUT = do_POST

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@dataclass(frozen=True)
class Sink:
    """A running sink.

    Args:
        url: its base address.
    """

    url: str

    def counts(self, path: str = "/") -> dict[str, int]:
        """Return the counts; the path ``/down`` makes the sink unavailable, ``/up`` available."""
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return dict(json.load(answer))

    def wait_for(self, spans: float, seconds: float = 15) -> dict[str, int]:
        """Return the counts, once there are so many spans or the time is over."""
        deadline = time.monotonic() + seconds
        while (counts := self.counts())["spans"] < spans and time.monotonic() < deadline:
            time.sleep(0.05)
        return counts


@contextmanager
def running_sink() -> Iterator[Sink]:
    """Start a sink, and end it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.sink"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process:
        try:
            yield Sink(f"http://127.0.0.1:{int(process.stdout.readline())}")
        finally:
            process.terminate()


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    with suppress(KeyboardInterrupt):
        server.serve_forever()


if __name__ == "__main__":
    main()
