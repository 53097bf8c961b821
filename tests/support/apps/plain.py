"""An application that knows nothing but to be wrapped."""

from avatar_telemetry import instrument


def hello(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello"]


application = instrument(hello)
