"""The components that record the requests of one process, as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from avatar_telemetry._base.guard import Guard
from avatar_telemetry.config.settings import ExemplarFilter
from avatar_telemetry.metrics.metrics import Metrics
from avatar_telemetry.profiles.model import Profile
from avatar_telemetry.wsgi.outcome import Outcomes

if TYPE_CHECKING:
    from avatar_telemetry.wsgi.request_spans import RequestTracing


@dataclass(frozen=True, slots=True)
class Telemetry:
    """The components that a request in progress needs.

    Args:
        metrics: the instruments.
        guard: the guard that reports internal failures.
        profile: the profile of the application.
        sizes: pixels -> value of the ``size`` label.
        tracing: the tracing of requests; ``None`` if spans are not recorded.
        exemplars: the requests that are named as exemplars.
    """

    metrics: Metrics
    guard: Guard
    profile: Profile
    sizes: Mapping[int, str]
    tracing: RequestTracing | None = None
    exemplars: ExemplarFilter = "trace_based"
    outcomes: Outcomes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "outcomes", Outcomes(self.metrics))
