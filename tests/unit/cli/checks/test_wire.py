"""The protocol of a port, found with a server of a few bytes."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import pytest

from avatar_telemetry.cli.checks.wire import PREFACE, speaks

SETTINGS = bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
GOAWAY = bytes((0, 0, 0, 7, 0, 0, 0, 0, 0))
Answer = Callable[[bytes], "list[bytes] | Exception"]


class Connection:
    """A connection whose other side has its answer ready, and ends after it.

    Args:
        answer: to what was sent: the pieces that are read, or an error of reading.
    """

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._pieces: list[bytes] = []
        self._error: Exception | None = None

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is open."""

    def gettimeout(self) -> float:
        return 5.0

    def sendall(self, data: bytes) -> None:
        found = self._answer(data)
        if isinstance(found, Exception):
            self._error = found
        else:
            self._pieces = list(found)

    def recv(self, size: int) -> bytes:
        if self._pieces:
            return self._pieces.pop(0)
        if self._error is not None:
            raise self._error
        return b""


def ask(answer: Answer, *, inside_tls: bool = True) -> str:
    def open_socket() -> Any:
        return Connection(answer)

    return speaks(open_socket, "collector", "/v1/traces", inside_tls=inside_tls)


def by_preface(frame: bytes) -> Answer:
    """A server that answers only to HTTP/2."""
    return lambda question: [frame] if question == PREFACE else []


@pytest.mark.parametrize(
    ("answer", "speech"),
    [
        pytest.param(lambda question: [b"HTTP/1.1 404 Not Found\r\n\r\n"], "http", id="HTTP"),
        pytest.param(lambda question: [b"HTTP/1.1 4", b"00 Bad\r\n\r\n"], "http", id="pieces"),
        pytest.param(by_preface(SETTINGS), "grpc", id="gRPC"),
        pytest.param(by_preface(GOAWAY), "unknown", id="another frame"),
        pytest.param(by_preface(SETTINGS[:-1]), "unknown", id="half a frame"),
        pytest.param(lambda question: [b"\x15\x03\x01"], "tls", id="TLS alert"),
        pytest.param(lambda question: [b"HTTP/1.1 400 Bad\r\n\r\n",
                                       b"Client sent an HTTP request to an HTTPS server."], "tls",
                     id="HTTPS in words"),
        pytest.param(lambda question: TimeoutError(), "silent", id="silent"),
        pytest.param(lambda question: ConnectionResetError(), "unknown", id="reset"),
        pytest.param(lambda question: [b"220 mail.example.org ESMTP\r\n"], "unknown", id="mail"),
        pytest.param(lambda question: [], "unknown", id="ends at once"),
    ],
)  # fmt: skip
def test_protocols(answer: Answer, speech: str) -> None:
    """What is spoken is known by the first bytes."""
    assert ask(answer) == speech


def test_question_is_one_of_http() -> None:
    """The port is asked for the path of the signal at its host."""
    asked: list[bytes] = []
    ask(lambda question: asked.append(question) or [b"HTTP/1.1 200 OK\r\n\r\n"])
    assert asked[0].startswith(b"GET /v1/traces HTTP/1.1\r\nHost: collector\r\n")


def test_end_of_tls_is_an_error() -> None:
    """A server that ends the TLS before any answer is told by its error."""
    with pytest.raises(ssl.SSLError):
        ask(lambda question: ssl.SSLError("certificate required"))
