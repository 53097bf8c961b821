"""The settings of all probes of a process.

They are one global value, because a library is patched once per process: probes read it at each
call.
"""

from __future__ import annotations

from avatar_telemetry._base.guard import Guard
from avatar_telemetry.config.settings import Privacy, Semconv


class Policy:
    """The data that probes may record, and the hosts that get the trace context.

    Args:
        privacy: the privacy mode (``AVATAR_TELEMETRY_PRIVACY``).
        propagate_to: the host names, in lower case and including their subdomains, that get the
            trace context; ``*`` is any.
        semconv: the version of the HTTP attributes.
        guard: the guard that counts failures of the probes.
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
        """Replace all values."""
        self.privacy: Privacy = privacy
        self.propagate_to = propagate_to
        self.semconv: Semconv = semconv
        self.guard = guard or Guard()

    def propagates_to(self, host: str) -> bool:
        """Return whether a host gets the trace context."""
        name = host.lower().removesuffix(".")
        return any(
            listed == "*" or name == listed or name.endswith("." + listed)
            for listed in self.propagate_to
        )


POLICY = Policy()
