"""The least that could be done: what no finished layer can be cheaper than, measured beside it.

Six updates of plain doubles in mapped memory. Where spans are sampled, two records a request of
ids, times and fourteen attributes, which a thread writes as OTLP from pieces encoded beforehand and
sends over one connection. Nothing of the request is looked at.
"""

from __future__ import annotations

import http.client
import mmap
import struct
import threading
from random import getrandbits
from time import perf_counter, sleep, time_ns
from typing import Any
from urllib.parse import urlsplit

from benchmarks.applications import bare
from benchmarks.peers import SAMPLE, SINK, Wrapped

BATCH = 512
CELLS = tuple(range(0, 12, 2))
# Fourteen attributes of one span, which make 581 bytes of it as in the baseline.
ATTRIBUTES = tuple(
    b"\x4a\x21\x0a\x0e" + b"http.attribute" + b"\x12\x0f\x0a\x0d" + b"some value %02d" % number
    for number in range(14)
)
TIMES = struct.Struct("<BQBQ")
Record = tuple[int, int, int, int, int]
"""Ids of trace, span and parent, and the times of start and end."""


class Middleware:
    """Around an application.

    Args:
        application: to be called.
        traced: whether it makes spans.
    """

    def __init__(self, application: Any, traced: bool) -> None:
        self.application = application
        self.doubles = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("d")
        self.records: list[Record] = []
        self.sending = threading.Lock()
        self.requests = 0
        self.traced = traced
        self.thread: threading.Thread | None = None

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        started = perf_counter()
        begun = time_ns() if self.traced else 0
        body = self.application(environ, start_response)
        doubles, elapsed = self.doubles, perf_counter() - started
        for cell in CELLS:
            doubles[cell] += elapsed
        self.requests += 1
        if self.traced:
            self.trace(begun)
        return body

    def trace(self, begun: int) -> None:
        """Keep the two records of a request."""
        ended, trace, server = time_ns(), getrandbits(128), getrandbits(64)
        self.records.append((trace, server, 0, begun, ended))
        self.records.append((trace, getrandbits(64), server, begun, ended))
        if self.thread is None:
            self.thread = threading.Thread(target=self.run, daemon=True)
            self.thread.start()

    def run(self) -> None:
        """Send what there is, batch by batch."""
        while True:
            sleep(0.01)
            if len(self.records) >= BATCH:
                self.flush()

    def flush(self) -> None:
        """Send all."""
        with self.sending:
            place = urlsplit(SINK)
            connection = http.client.HTTPConnection(place.hostname or "", place.port)
            while self.records:
                batch, self.records[:BATCH] = self.records[:BATCH], []
                connection.request("POST", "/v1/traces", body=encoded(batch))
                connection.getresponse().read()
            connection.close()


def encoded(records: list[Record]) -> bytes:
    """The records as OTLP."""
    parts = []
    attributes = b"".join(ATTRIBUTES)
    for trace, span, parent, begun, ended in records:
        body = b"".join((
            b"\x0a\x10", trace.to_bytes(16, "big"), b"\x12\x08", span.to_bytes(8, "big"),
            b"\x22\x08" + parent.to_bytes(8, "big") if parent else b"",
            b"\x2a\x04span\x30\x02", TIMES.pack(0x39, begun, 0x41, ended), attributes,
        ))  # fmt: skip
        parts.append(message(0x12, body))
    return message(0x0A, message(0x12, b"".join(parts)))


def message(field: int, body: bytes) -> bytes:
    """A field of protobuf that is a message."""
    length, head = len(body), bytearray((field,))
    while length > 0x7F:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head) + body


def wrap(name: str) -> Wrapped:
    """The application inside the middleware."""
    middleware = Middleware(bare(name), SAMPLE > 0)
    return Wrapped(middleware, middleware.flush, lambda: middleware.requests)
