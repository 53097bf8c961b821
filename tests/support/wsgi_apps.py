"""Small WSGI applications, and a body that remembers what is done with it."""

from __future__ import annotations

from avatar_telemetry.wsgi.request import current_request

HEADERS = [("Content-Type", "text/plain")]


class ClosingBody:
    """A body that remembers whether it was closed, and who was the request in progress then."""

    def __init__(self, chunks=(b"one", b"two"), error=None):
        self.chunks = iter(chunks)
        self.error = error
        self.closed = 0
        self.seen = []

    def __iter__(self):
        return self

    def __next__(self):
        self.seen.append(current_request())
        return next(self.chunks)

    def close(self):
        self.closed += 1
        self.seen.append(current_request())
        if self.error:
            raise self.error


def answering(body, status="200 OK", headers=HEADERS):
    def application(environ, start_response):
        start_response(status, list(headers))
        return body

    return application
