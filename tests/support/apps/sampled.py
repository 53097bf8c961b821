"""Responses that fail or are slow as the query requests, each with a span and a log record."""

import logging
import time

from opentelemetry import trace

from avatar_telemetry import instrument
from avatar_telemetry.profiles.ivatar import PROFILE

TRACER = trace.get_tracer("app")
SLOW = 1.1


def application(environ, start_response):
    what = environ["QUERY_STRING"]
    with TRACER.start_as_current_span("work"):
        logging.getLogger("app").warning("work")
        if what == "slow":
            time.sleep(SLOW)
    start_response("500 Oh" if what == "error" else "200 OK", [("Content-Length", "5")])
    return [b"image"]


application = instrument(application, profile=PROFILE)
