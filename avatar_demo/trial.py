"""The page with the statistics; where ``DEMO_DEVELOPMENT`` is on, a trial of the telemetry, too.

The first button sends a minute of requests, the second kills the worker that responds to it. The
page shows the metrics meanwhile.
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from webob import exc

from avatar_demo.pages import DASHBOARD, FILES, count_rows
from avatar_demo.visit import Visit

PAGE = "/statistics/"
SECONDS, RATE, VISITORS = 60, 20, 4
"""The duration of the traffic, its requests per second, and the concurrent visitors."""
FIGURES = {
    "requests": "Requests", "rate": "Requests per second", "avatars": "Requests for avatars",
    "cache": "Found in the cache", "uploads": "Accepted uploads", "refused": "Refused uploads",
    "workers": "Workers", "decreased": "Counts that decreased",
}  # fmt: skip
"""The names and labels of the live figures, which ``static/trial.js`` writes."""
LOOPBACK = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?")
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is bound
FORWARDING = ("HTTP_FORWARDED", "HTTP_X_FORWARDED", "HTTP_X_REAL_IP", "HTTP_VIA")


class KillingBody:
    """A response body after which this process is killed.

    Args:
        body: the body to send.
    """

    def __init__(self, body: Iterable[bytes]) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        """Kill this process: the server calls this when the response was sent."""
        os.kill(os.getpid(), signal.SIGKILL)


def statistics(visit: Visit) -> Any:
    """``/statistics/``: the numbers of ``/stats/``, and in development the trial."""
    has_trial = _has_trial(visit)
    if visit.request.method != "POST":
        return visit.page(
            "statistics.html", "Statistics", counts=count_rows(visit), has_trial=has_trial,
            has_dashboard=DASHBOARD in FILES.values(), seconds=SECONDS, figures=FIGURES,
        )  # fmt: skip
    action = ACTIONS.get(visit.field("action")) if has_trial else None
    if action is None:
        raise exc.HTTPNotFound("There is no such page.")
    return action(visit)


def _has_trial(visit: Visit) -> bool:
    """Return whether the demo is in development and a browser on this machine sent the request.

    Only gunicorn replaces a killed worker. The host is compared because the name of another site
    may resolve to this machine (DNS rebinding), the origin because a proxy may send its own host.
    """
    environ = visit.request.environ
    own_origin = f"{visit.request.scheme}://{environ.get('HTTP_HOST')}"
    return (
        visit.site.settings.development
        and environ.get("SERVER_SOFTWARE", "").startswith("gunicorn")
        and _is_loopback(environ.get("REMOTE_ADDR", ""))
        and LOOPBACK.fullmatch(environ.get("HTTP_HOST", "")) is not None
        and environ.get("HTTP_ORIGIN", own_origin) == own_origin
        and not any(name.startswith(FORWARDING) for name in environ)
    )


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:  # of a Unix socket
        return False


def _start_traffic(visit: Visit) -> Any:
    path = visit.site.settings.data / "traffic.log"
    with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "wb") as log:
        try:
            # The process inherits the lock with its output, and holds it until it ends.
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return visit.redirect(PAGE, "Traffic is being sent already.")
        log.truncate()
        process = subprocess.Popen(  # noqa: S603 - the URL is that of this server
            [
                sys.executable, "-m", "avatar_demo.simulate", _own_url(visit),
                f"--concurrency={VISITORS}", f"--rate={RATE}", f"--requests={SECONDS * RATE}",
                f"--seconds={SECONDS}", f"--pid={os.getppid()}", f"--random-state={time.time_ns()}",
            ],
            cwd=Path(__file__).parent.parent, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    # It may end before this worker does.
    threading.Thread(target=process.wait, daemon=True).start()
    return visit.redirect(PAGE, f"Traffic is sent for {SECONDS} seconds.")


def _own_url(visit: Visit) -> str:
    """Return the URL of this server from the address of its socket, not from a client's header."""
    environ = visit.request.environ
    name = WILDCARDS.get(environ["SERVER_NAME"], environ["SERVER_NAME"])
    host = f"[{name}]" if ":" in name else name
    return f"{visit.request.scheme}://{host}:{environ['SERVER_PORT']}{visit.root}"


def _kill_worker(visit: Visit) -> Any:
    response = visit.redirect(PAGE, f"Worker {os.getpid()} was killed.")
    length = response.content_length
    response.app_iter = KillingBody(response.app_iter)
    response.content_length = length  # WebOb removes it with every new body
    return response


ACTIONS = {"traffic": _start_traffic, "kill": _kill_worker}
"""The function of each button, by its value."""
