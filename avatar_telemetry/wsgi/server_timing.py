"""The Server-Timing header, for the developer tools of browsers (W3C Server Timing).

    Server-Timing: trace;desc="4bf92f3577b34da6a3ce929d0e0e4736", app;dur=12.3

Off by default, because it reveals durations to every client.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

from avatar_telemetry.profiles.model import Route
from avatar_telemetry.wsgi.request import TRACE_ID_KEY, AvatarRequest, Write

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from avatar_telemetry.wsgi.telemetry import Telemetry

HEADER = "Server-Timing"


class TimedRequest(AvatarRequest):
    """A request whose response has the header. See :class:`AvatarRequest` for the arguments."""

    __slots__ = ("_trace",)

    def __init__(
        self,
        telemetry: Telemetry,
        environ: WSGIEnvironment,
        route: Route,
        start_response: StartResponse,
    ) -> None:
        super().__init__(telemetry, environ, route, start_response)
        trace_id = environ.get(TRACE_ID_KEY)
        self._trace = f'trace;desc="{trace_id}", ' if trace_id else ""

    def start_response(
        self,
        status: str,
        response_headers: list[tuple[str, str]],
        exc_info: Any = None,
    ) -> Write:
        """Add the header to a copy of the list of headers; pass anything else unchanged."""
        if type(response_headers) is list:
            milliseconds = (perf_counter() - self.started) * 1e3
            timing = f"{self._trace}app;dur={milliseconds:.1f}"
            response_headers = [*response_headers, (HEADER, timing)]
        return super().start_response(status, response_headers, exc_info)
