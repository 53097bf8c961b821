"""The parts with which one process records requests, as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from avatar_telemetry._base.guard import Guard
from avatar_telemetry.metrics.metrics import Metrics
from avatar_telemetry.profiles.model import Profile
from avatar_telemetry.wsgi.outcome import Conclusions

if TYPE_CHECKING:
    from avatar_telemetry.wsgi.request_spans import RequestTracing


@dataclass(frozen=True, slots=True)
class Telemetry:
    """The parts that a request in progress needs.

    Args:
        metrics: the instruments.
        guard: counts and logs failures of ours.
        profile: the profile of the application.
        sizes: pixels -> value of the ``size`` label.
        tracing: begins the spans of a request; ``None`` where spans are not recorded.
    """

    metrics: Metrics
    guard: Guard
    profile: Profile
    sizes: Mapping[int, str]
    tracing: RequestTracing | None = None
    conclusions: Conclusions = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "conclusions", Conclusions(self.metrics))
