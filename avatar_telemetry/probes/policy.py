"""What all probes of a process have to keep to.

One value, since a library is patched once for a process: probes read it at each call.
"""

from __future__ import annotations

from avatar_telemetry._base.guard import Guard
from avatar_telemetry.config.settings import Privacy, Semconv


class Policy:
    """What may be told, and to whom.

    Args:
        privacy: ``AVATAR_TELEMETRY_PRIVACY``.
        propagate_to: host names in lower case (their subdomains count) that get our trace context;
            ``*`` is any.
        semconv: which HTTP attributes a span bears.
        guard: told of the probes' own failures.
    """

    __slots__ = ("guard", "privacy", "propagate_to", "semconv")

    def __init__(
        self,
        privacy: Privacy = "balanced",
        propagate_to: tuple[str, ...] = (),
        semconv: Semconv = "old",
        guard: Guard | None = None,
    ) -> None:
        self.set(privacy, propagate_to, semconv, guard)

    def set(
        self,
        privacy: Privacy = "balanced",
        propagate_to: tuple[str, ...] = (),
        semconv: Semconv = "old",
        guard: Guard | None = None,
    ) -> None:
        """Take other rules from now on."""
        self.privacy: Privacy = privacy
        self.propagate_to = propagate_to
        self.semconv: Semconv = semconv
        self.guard = guard or Guard()

    def propagates_to(self, host: str) -> bool:
        """Whether a host gets our trace context."""
        name = host.lower().removesuffix(".")
        return any(
            listed == "*" or name == listed or name.endswith("." + listed)
            for listed in self.propagate_to
        )


POLICY = Policy()
