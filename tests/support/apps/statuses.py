"""Answers with the status that the path names, so that a client makes series as it likes."""

from avatar_telemetry import Profile, instrument


def answer(environ, start_response):
    status = environ["PATH_INFO"][1:4]
    status = status if status.isdecimal() else "404"
    start_response(f"{status} As You Like", [("Content-Type", "text/plain")])
    return [b"answer"]


application = instrument(answer, profile=Profile("statuses"))
