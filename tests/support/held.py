"""Requests that stay inside their application until a test lets them go on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from avatar_telemetry.wsgi.request import AvatarRequest, current_request
from tests.support.wsgi_client import Exchange, call

FAR = 60.0
"""Seconds after which something that should have come is given up; never a measurement."""


class Gate:
    """A place in an application where its requests wait."""

    def __init__(self) -> None:
        self._here = threading.Semaphore(0)
        self._go = threading.Event()
        self.requests: list[AvatarRequest] = []

    def wait(self) -> None:
        """Called by the application: wait."""
        request = current_request()
        assert request is not None
        self.requests.append(request)
        self._here.release()
        assert self._go.wait(FAR)

    def arrive(self) -> None:
        """Called by the test: wait until one more request waits here."""
        assert self._here.acquire(timeout=FAR)

    def open(self) -> None:
        """Let all requests go on."""
        self._go.set()


def waiting(gate: Gate) -> Callable[..., Any]:
    """An application whose requests wait at a gate."""

    def application(environ, start_response):
        gate.wait()
        start_response("200 OK", [("Content-Type", "image/png")])
        return [b"ok"]

    return application


@contextmanager
def held(application: Any, gate: Gate, *paths: str) -> Iterator[list[Exchange]]:
    """Send requests, each in a thread of its own, that are held in the block.

    Args:
        application: the wrapped application.
        gate: where each of them waits.
        paths: their paths; each begins after the one before waits.

    Yields:
        Their exchanges, in the order of their ends, after the block.
    """
    ended: list[Exchange] = []

    def ask(path: str) -> None:
        ended.append(call(application, path=path))

    threads = [threading.Thread(target=ask, args=(path,)) for path in paths]
    try:
        for thread in threads:
            thread.start()
            gate.arrive()
        yield ended
    finally:
        gate.open()
        for thread in threads:
            thread.join(FAR)
            assert not thread.is_alive()
