"""Faults of a sink of OTLP, on the wire.

A fault is chosen at run time (``sink.behave(Fault.RESET)``) and holds for the requests from then
on; those that are held by an earlier fault are let go by closing their connection.
"""

from __future__ import annotations

import enum
import os
import select
import socket
import struct
import threading
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.support.otlp_records import RESPONSES

PROTOBUF = "application/x-protobuf"


class Fault(str, enum.Enum):
    """Each one way to be a bad collector."""

    NONE = "none"
    REFUSED = "refused"
    """Nobody listens."""
    BLACKHOLE = "blackhole"
    """Accepts, reads nothing, never answers."""
    SLOW = "slow"
    """Answers well, after ``seconds``."""
    RESET = "reset"
    """Reads the request's head, then resets the connection."""
    STATUS = "status"
    """Answers with ``status`` and ``headers``."""
    GARBAGE = "garbage"
    """Answers with what is not HTTP."""
    WRONG_PROTOBUF = "wrong_protobuf"
    """Answers 200 with a body that is no protobuf."""
    PARTIAL_SUCCESS = "partial_success"
    """Answers 200 and says that it rejected ``rejected`` of the spans."""
    REDIRECT = "redirect"
    """Answers 302 to ``location``, or to itself."""
    ENDLESS = "endless"
    """Answers 200 with a body of ``chunk`` bytes each ``pause`` seconds for ever."""
    ENDLESS_HEAD = "endless_head"
    """Answers with a head that never ends, a byte each ``pause`` seconds."""


@dataclass(frozen=True)
class Behaviour:
    """A fault with its measures.

    Args:
        fault: which.
        status: of the answer (``STATUS``).
        headers: of the answer (``STATUS``).
        seconds: until the answer (``SLOW``).
        rejected: how many spans, data points or records (``PARTIAL_SUCCESS``).
        location: where to (``REDIRECT``); empty: the same address.
        chunk: bytes at once (``ENDLESS``).
        pause: seconds between two writes (``ENDLESS``, ``ENDLESS_HEAD``).
    """

    fault: Fault = Fault.NONE
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 5.0
    rejected: int = 1
    location: str = ""
    chunk: int = 1024
    pause: float = 0.01

    @property
    def accepts(self) -> bool:
        """Return whether the data are expected to arrive."""
        return self.fault in (Fault.NONE, Fault.SLOW)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Behaviour:
        return cls(**{**values, "fault": Fault(values["fault"])})


class Stage:
    """The behaviour of now, and the bell that ends what an earlier one holds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = Behaviour()
        self._over = threading.Event()

    def change(self, behaviour: Behaviour) -> None:
        """Behave so from now on."""
        with self._lock:
            self._over.set()
            self._now, self._over = behaviour, threading.Event()

    def look(self) -> tuple[Behaviour, threading.Event]:
        """The behaviour, and what is set when it is over."""
        with self._lock:
            return self._now, self._over


def misbehave(handler: BaseHTTPRequestHandler, behaviour: Behaviour, over: threading.Event) -> None:
    """Answer a request that was read; returns when the connection may go on or end.

    Args:
        handler: of the request; its ``close_connection`` is set where it must not go on.
        behaviour: how.
        over: is set when the behaviour changes.
    """
    ACTS[behaviour.fault](handler, behaviour, over)


def answer(handler: BaseHTTPRequestHandler, status: int, body: bytes = b"", **headers: str) -> None:
    """Send a whole answer."""
    handler.send_response(status)
    for name, value in {"Content-Type": PROTOBUF, **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def reset(connection: socket.socket) -> None:
    """Close a connection so that the other side gets RST instead of FIN (socket(7), SO_LINGER)."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(connection.detach())  # close() would wait for the files made of it


def hold(connection: socket.socket, over: threading.Event) -> None:
    """Keep a connection open without a word until the behaviour is over or its client is gone."""
    poller = select.poll()
    poller.register(connection, select.POLLRDHUP)  # told even where bytes stay unread
    while not over.is_set() and not poller.poll(50):
        continue


def _well(handler: BaseHTTPRequestHandler, behaviour: Behaviour, over: threading.Event) -> None:
    answer(handler, 200)


def _slow(handler: BaseHTTPRequestHandler, behaviour: Behaviour, over: threading.Event) -> None:
    over.wait(behaviour.seconds)
    answer(handler, 200)


def _status(handler: BaseHTTPRequestHandler, behaviour: Behaviour, over: threading.Event) -> None:
    answer(handler, behaviour.status, **behaviour.headers)


def _garbage(handler: BaseHTTPRequestHandler, behaviour: Behaviour, over: threading.Event) -> None:
    handler.wfile.write(b"\x00\x16\x03\x01 SSH-2.0-no HTTP at all\r\n\r\n" * 8)
    handler.close_connection = True


def _wrong(handler: BaseHTTPRequestHandler, behaviour: Behaviour, over: threading.Event) -> None:
    answer(handler, 200, b"\xff" * 64)


def _partial(handler: BaseHTTPRequestHandler, behaviour: Behaviour, over: threading.Event) -> None:
    answer(handler, 200, partial_success(handler.path, behaviour.rejected))


def partial_success(path: str, number: int) -> bytes:
    """Return the response to a request of which so many items are rejected."""
    response: Any = RESPONSES[path]()
    names = {field.name for field in response.partial_success.DESCRIPTOR.fields}
    rejected = next(name for name in sorted(names) if name.startswith("rejected"))
    setattr(response.partial_success, rejected, number)
    response.partial_success.error_message = "too many"
    return bytes(response.SerializeToString())


def _redirect(handler: BaseHTTPRequestHandler, behaviour: Behaviour, over: threading.Event) -> None:
    itself = f"http://{handler.headers.get('Host', 'localhost')}{handler.path}"
    answer(handler, 302, Location=behaviour.location or itself)


def _endless(handler: BaseHTTPRequestHandler, behaviour: Behaviour, over: threading.Event) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", PROTOBUF)
    handler.end_headers()
    _write_for_ever(handler, bytes(behaviour.chunk), behaviour.pause, over)


def _endless_head(
    handler: BaseHTTPRequestHandler, behaviour: Behaviour, over: threading.Event
) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    _write_for_ever(handler, b"x", behaviour.pause, over)


def _write_for_ever(
    handler: BaseHTTPRequestHandler, chunk: bytes, pause: float, over: threading.Event
) -> None:
    handler.close_connection = True
    handler.connection.settimeout(1)  # a client that reads nothing is looked after, too
    while not over.wait(pause):
        try:
            handler.wfile.write(chunk)
        except TimeoutError:
            continue


ACTS = {
    Fault.NONE: _well,
    Fault.SLOW: _slow,
    Fault.STATUS: _status,
    Fault.GARBAGE: _garbage,
    Fault.WRONG_PROTOBUF: _wrong,
    Fault.PARTIAL_SUCCESS: _partial,
    Fault.REDIRECT: _redirect,
    Fault.ENDLESS: _endless,
    Fault.ENDLESS_HEAD: _endless_head,
}
"""The faults that occur after the request was read; the others occur before."""
