"""gunicorn's configuration: the server's own settings, and the hooks of the telemetry."""

import os

from avatar_telemetry.gunicorn import (  # noqa: F401 - gunicorn finds the hooks by their names
    child_exit,
    on_exit,
    on_starting,
    post_fork,
    worker_exit,
)

bind = os.environ.get("GUNICORN_BIND", "127.0.0.1:8000")
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
wsgi_app = "wsgi:application"

# Recycling costs nothing here: the next worker counts on in the slot of the last.
max_requests = 10_000
max_requests_jitter = 1_000

# All servers of a user would share one control socket, and a second take it from the first.
control_socket_disable = True
