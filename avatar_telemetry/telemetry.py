"""What one process records with: the value that the middleware and the requests are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from avatar_telemetry.guard import Guard
from avatar_telemetry.metrics import Metrics
from avatar_telemetry.profile import Profile


@dataclass(frozen=True, slots=True)
class Telemetry:
    """The parts that a request in progress needs.

    Args:
        metrics: the instruments.
        guard: told of our own failures.
        profile: what is known about the application.
        sizes: pixels -> value of the ``size`` label.
    """

    metrics: Metrics
    guard: Guard
    profile: Profile
    sizes: Mapping[int, str]

    def with_profile(self, profile: Profile) -> Telemetry:
        """The same parts with another profile."""
        return replace(self, profile=profile)
