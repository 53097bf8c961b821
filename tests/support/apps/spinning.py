"""An application that computes without a pause, and waits for nothing."""

import sys

from avatar_telemetry import instrument
from avatar_telemetry.profiles.ivatar import PROFILE
from avatar_telemetry.wsgi.request import current_request


def application(environ, start_response):
    """Compute until a stack was taken, or for ever."""
    print(f"computing {environ['PATH_INFO']}", file=sys.stderr, flush=True)
    number = 0
    while environ["PATH_INFO"] == "/stats/" or not current_request().stacks:
        number += 1
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"done"]


application = instrument(application, profile=PROFILE)
