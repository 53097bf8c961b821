"""An application with a child that counts, and lives until the file ``go`` is there."""

from __future__ import annotations

import os
import time

from prometheus_client import Counter

from avatar_telemetry import instrument

THINGS = Counter("app_things", "Things done.", ["kind"])


def application(environ, start_response):
    read, write = os.pipe()
    if os.fork() == 0:
        THINGS.labels("child").inc()
        os.write(write, b"x")
        while not os.path.exists("go"):
            time.sleep(0.02)
        os._exit(0)
    os.close(write)
    os.read(read, 1)
    os.close(read)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"forked"]


application = instrument(application)
