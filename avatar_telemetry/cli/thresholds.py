"""The limits of the alerts, so that ``top`` marks the values that the rules alert on.

The source of the numbers is ``deploy/prometheus/rules/alerts.yml``, which no wheel contains; a test
compares both.
"""

from __future__ import annotations

from typing import NamedTuple


class Threshold(NamedTuple):
    """The limit of one alert.

    Args:
        alert: the name of the alert.
        limit: the limit, in the unit of the value.
        below: whether values below the limit are at fault, instead of those above it.
        events: the number of events that makes a ratio significant: that of the rule's minimum
            rate in its window of five minutes.
    """

    alert: str
    limit: float
    below: bool = False
    events: float = 0

    def crossed(self, value: float | None, events: float = float("inf")) -> bool:
        """Return whether a value, derived from a number of events, is at fault."""
        if value is None or events <= self.events:
            return False
        return value < self.limit if self.below else value > self.limit


ERRORS = Threshold("HighErrorRate", 0.05, events=6)
ROUTE_ERRORS = Threshold("EndpointErrors", 0.1, events=6)
DURATION = Threshold("SlowRequests", 1, events=6)
BACKLOG = Threshold("RequestsQueue", 10)
GENERATION = Threshold("SlowAvatarGeneration", 2, events=6)
CACHE = Threshold("LowCacheHitRatio", 0.8, below=True, events=30)
UPLOADS = Threshold("UploadsFail", 0.5, below=True, events=6)
AUTHENTICATION = Threshold("AuthenticationFails", 0.5, below=True, events=6)
OUTSIDE = Threshold("OutsideServiceFails", 0.8, below=True, events=6)
SPANS_LOST = Threshold("TelemetrySpansLost", 0.01)
LOGS_LOST = Threshold("TelemetryLogsLost", 0.01)
PUSHES_FAILED = Threshold("TelemetryPushesFail", 0.5)
FREE_BYTES = Threshold("TelemetryFolderIsFull", 1 << 20, below=True)
