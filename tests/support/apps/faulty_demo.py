"""The demo with faults that come and go with a file: errors, slow pictures, a rule that raises."""

import time
from dataclasses import replace
from pathlib import Path

import demo_profile

from avatar_demo import application as demo
from avatar_telemetry import Route, instrument

FAULTS = Path("faults")
SLOW = 2.6
"""Seconds; in a bucket of its own above the 2 s of SlowAvatarGeneration."""


def faulty(environ, start_response):
    path = environ["PATH_INFO"]
    if FAULTS.exists():
        if path == "/stats/":
            start_response("500 Internal Server Error", [("Content-Type", "text/plain")])
            return [b"no statistics"]
        if path.startswith("/avatar/"):
            time.sleep(SLOW)
    return demo(environ, start_response)


def broken_rule(method, status, location):
    raise ValueError("a profile's own fault")


PROFILE = replace(
    demo_profile.PROFILE,
    routes=(
        Route(r"^/broken-rule\Z", "/broken-rule", "auth", operation="other", succeeded=broken_rule),
        *demo_profile.PROFILE.routes,
    ),
)
application = instrument(faulty, profile=PROFILE)
