"""gunicorn's configuration: the server's own settings, and the hooks of the telemetry."""

import os
import sys

from avatar_telemetry import gunicorn as telemetry
from avatar_telemetry.gunicorn import (  # noqa: F401 - gunicorn finds the hooks by their names
    child_exit,
    on_exit,
    post_fork,
    worker_abort,
    worker_exit,
)

PROFILE = "AVATAR_TELEMETRY_PROFILE"
DEVELOPMENT = "DEMO_DEVELOPMENT"
DEPLOYED = ("GUNICORN_BIND", "LISTEN_FDS", "OTEL_ENVIRONMENT")
"""Variables of a server that is more than a trial on this machine."""

bind = os.environ.get("GUNICORN_BIND", "127.0.0.1:8000")
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
wsgi_app = "wsgi:application"

# Recycling costs nothing here: the next worker counts on in the slot of the last.
max_requests = 10_000
max_requests_jitter = 1_000

# All servers of a user would share one control socket, and a second take it from the first.
control_socket_disable = True


def on_starting(server):
    """wsgi.py serves the demo, with its own profile, where no application is named.

    The demo has its buttons where neither an address nor an environment is given.
    """
    if not os.environ.get("AVATAR_TELEMETRY_APP"):
        if not os.environ.get(PROFILE):
            os.environ[PROFILE] = "avatar_demo.profile:PROFILE"
        if not any(map(os.environ.get, DEPLOYED)) and not has_bind_option(server.cfg):
            os.environ.setdefault(DEVELOPMENT, "1")
    telemetry.on_starting(server)


def has_bind_option(config):
    """Return whether gunicorn's command line or ``GUNICORN_CMD_ARGS`` has an address."""
    arguments = [*config.get_cmd_args_from_env(), *sys.argv[1:]]
    return config.parser().parse_known_args(arguments)[0].bind is not None
