"""Makes spans of its own while it answers, in the call and in the body."""

import time
from pathlib import Path

from opentelemetry import trace

from avatar_telemetry import instrument
from avatar_telemetry.profiles.ivatar import PROFILE

TRACER = trace.get_tracer("app")


def application(environ, start_response):
    number = environ["QUERY_STRING"]
    if environ["PATH_INFO"] == "/boom":
        raise ValueError("the application's own fault")
    with TRACER.start_as_current_span("call", attributes={"number": number}):
        time.sleep(0.003)
    start_response("200 OK", [("Content-Type", "image/png")])
    if number == "file":
        Path("picture").write_bytes(b"picture")
        return environ["wsgi.file_wrapper"](open("picture", "rb"))
    return body(number)


def body(number):
    for _ in range(2):
        time.sleep(0.003)
        with TRACER.start_as_current_span("body", attributes={"number": number}):
            yield b"x"


application = instrument(application, profile=PROFILE)
