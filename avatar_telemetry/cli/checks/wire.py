"""What a port speaks: asked with a few bytes, before anything is sent to it.

speaks(connect, "collector", "/v1/traces", inside_tls=False)  # "grpc"
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from typing import Literal

Speech = Literal["http", "grpc", "tls", "silent", "unknown"]
Open = Callable[[], socket.socket]

QUESTION = b"GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n"
# RFC 9113, section 3.4: the preface of a client, and an empty SETTINGS frame.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
FRAME_TYPE, SETTINGS = 3, 4
FRAME_HEAD = 9
TLS_ALERT = b"\x15\x03"
# What servers say to plain HTTP on a port of TLS.
WANTS_TLS = (b"to an HTTPS server", b"sent to HTTPS port")
ENOUGH = 2048


def speaks(open_socket: Open, host: str, path: str, *, inside_tls: bool) -> Speech:
    """Find out what is spoken.

    Args:
        open_socket: a new connection, with a time-out, TLS made where it is wanted.
        host: for the question.
        path: likewise; a receiver knows its own.
        inside_tls: whether that is so.

    Raises:
        ssl.SSLError: the other side ended the TLS that had seemed to stand.
    """
    answer = _exchange(
        open_socket, QUESTION % (path.encode("ascii", "ignore"), host.encode("idna"))
    )
    if answer is None:
        return "silent"
    if answer.startswith(TLS_ALERT) or any(words in answer for words in WANTS_TLS):
        return "tls"
    if answer.startswith(b"HTTP/1"):
        return "http"
    frame = _exchange(open_socket, PREFACE) or b""
    if len(frame) >= FRAME_HEAD and frame[FRAME_TYPE] == SETTINGS:
        return "grpc"
    if not answer and not inside_tls and _takes_tls(open_socket):
        return "tls"
    return "unknown"


def _exchange(open_socket: Open, question: bytes) -> bytes | None:
    """The first bytes of an answer; empty where the connection was ended, ``None``: no answer."""
    answer = b""
    try:
        with open_socket() as connection:
            # The time-out is for each read: an answer may come byte by byte.
            end = time.monotonic() + (connection.gettimeout() or 0.0)
            connection.sendall(question)
            while len(answer) < ENOUGH and (data := connection.recv(ENOUGH)):
                answer += data
                if not answer.startswith(b"HTTP/1") or time.monotonic() > end:
                    break
    except TimeoutError:
        return answer or None
    except ssl.SSLError:
        if not answer:
            raise
    except OSError:
        return answer
    return answer


def _takes_tls(open_socket: Open) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is sent through it
    try:
        with open_socket() as connection, context.wrap_socket(connection):
            return True
    except ssl.SSLError as error:
        return "CERTIFICATE" in (error.reason or "")
    except OSError:
        return False
