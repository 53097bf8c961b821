"""Switches of protocols under gunicorn."""

from __future__ import annotations

import pytest

from tests.support.gunicorn_server import Serve, total
from tests.support.rows import WORKER_CLASSES


@pytest.mark.parametrize("worker_class", WORKER_CLASSES)
def test_a_connection_that_the_application_takes(serve: Serve, worker_class: str) -> None:
    """A session on gunicorn's socket counts as 101, without a duration, and is no error."""
    server = serve("websocket:application", worker_class=worker_class)
    before = server.requests()
    client = server.connect()
    client.connect()
    client.sock.sendall(
        b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
    )
    with client.sock.makefile("rb") as answer:
        assert answer.readline() == b"HTTP/1.1 101 Switching Protocols\r\n"
        assert answer.readline() + answer.readline() == b"Upgrade: echo\r\n\r\n"
        client.sock.sendall(b"hello\n")
        assert answer.readline() == b"hello\n"
        assert total(server.metrics(), "ivatar_requests_in_progress") == 1
    client.close()
    server.await_requests(before + 1)
    server.await_idle()
    metrics = server.metrics()
    assert total(metrics, "ivatar_requests_total", status_code="101") == 1
    assert total(metrics, "ivatar_requests_total", status_code="500") == 0
    assert total(metrics, "ivatar_request_duration_seconds_count") == before
    assert total(metrics, "ivatar_request_first_byte_seconds_count") == before
    assert total(metrics, "ivatar_requests_in_progress") == 0
