"""An application that logs, and configures its logging while it is loaded."""

import logging
import os

from avatar_telemetry import instrument

if os.environ.get("APP_CONFIGURES"):
    logging.basicConfig(
        filename="basic.log", format="%(levelname)s %(trace_id)s %(message)s", level=logging.INFO
    )
    logging.getLogger("shop").warning("loading")

LOGGER = logging.getLogger("shop")


def log(environ, start_response):
    if environ["PATH_INFO"] == "/fail":
        raise ValueError("for ann@example.org")
    LOGGER.info("asked by %s", "ann@example.org")
    LOGGER.warning("no picture for %s", "ann@example.org", extra={"tries": 3})
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ.get("avatar_telemetry.trace_id", "none").encode()]


application = instrument(log)
