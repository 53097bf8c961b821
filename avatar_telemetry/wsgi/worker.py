"""What code of the application finds when it records by hand: the telemetry of its worker.

Nothing is there in gunicorn's master, with the SDK disabled, and where nothing is wrapped.
"""

from __future__ import annotations

from collections.abc import Callable

from avatar_telemetry.wsgi.request import CURRENT
from avatar_telemetry.wsgi.telemetry import Telemetry

Find = Callable[[], "Telemetry | None"]


class Worker:
    """The process as code of the application sees it.

    Attributes:
        find: gives the telemetry outside of a request; whoever starts it here sets it.
    """

    def __init__(self) -> None:
        self.find: Find = lambda: None

    def telemetry(self) -> Telemetry | None:
        """That of the request in progress, else that of the process; ``None`` where there is none.
        Never raises."""
        request = CURRENT.get()
        if request is not None:
            return request.telemetry
        try:
            return self.find()
        except Exception:  # noqa: BLE001 - the application asks in the middle of its own work
            return None


WORKER = Worker()
