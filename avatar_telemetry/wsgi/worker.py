"""The telemetry of a worker, for code of the application that records itself.

There is none in gunicorn's master, with a disabled SDK, and without a wrapped application.
"""

from __future__ import annotations

from collections.abc import Callable

from avatar_telemetry.wsgi.request import CURRENT
from avatar_telemetry.wsgi.telemetry import Telemetry

Find = Callable[[], "Telemetry | None"]


class Worker:
    """The access to the telemetry of a process.

    Attributes:
        find: a function that returns the telemetry outside of a request; the runtime sets it.
    """

    def __init__(self) -> None:
        self.find: Find = lambda: None

    def telemetry(self) -> Telemetry | None:
        """Return the telemetry of the request in progress, else that of the process, or ``None``.
        Never raises."""
        request = CURRENT.get()
        if request is not None:
            return request.telemetry
        try:
            return self.find()
        except Exception:  # noqa: BLE001 - nothing may be raised into the application
            return None


WORKER = Worker()
