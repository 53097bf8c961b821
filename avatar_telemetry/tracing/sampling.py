"""Decisions of the standard samplers, without building their arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import entry_points

from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    ParentBased,
    Sampler,
    TraceIdRatioBased,
)

from avatar_telemetry.config.parsing import SAMPLERS

EVERY = b"\xff" * 9
"""The bound of a sampler of every trace."""
WHOLE = 1 << 56
"""The number of values of the randomness of a trace."""


@dataclass(frozen=True)
class Sampling:
    """A sampler, and the rule of its decisions if they depend only on trace id and parent.

    Args:
        sampler: the sampler of the SDK.
        bound: a trace that starts here is sampled if the second half of its id is less; child spans
            follow their parent. ``None``: the sampler is called for each span.
        follows_parent: whether a remote parent decides for its trace.
    """

    sampler: Sampler
    bound: bytes | None = None
    follows_parent: bool = False

    def decide(self, trace_id: bytes, parent_sampled: bool | None) -> bool:
        """Return whether a trace is sampled. Only for a sampler with a bound.

        Args:
            trace_id: the id of the trace.
            parent_sampled: whether its remote parent is sampled; ``None`` without a remote parent.
        """
        if self.follows_parent and parent_sampled is not None:
            return parent_sampled
        return trace_id[8:] < (self.bound or b"")

    @cached_property
    def threshold(self) -> int | None:
        """The share of the traces that are not sampled, of :data:`WHOLE`, unless a caller decides;
        ``None`` if it is unknown."""
        if self.bound is None or self.bound is EVERY:
            return None if self.bound is None else 0
        return (1 << 64) - int.from_bytes(self.bound.ljust(8, b"\0"), "big") >> 8

    @cached_property
    def is_explicit(self) -> bool:
        """True where the randomness of a trace is not its id, as in the specification: a ratio
        sampler of the SDK samples the traces with the lowest ids."""
        return self.bound is not None and self.bound is not EVERY

    def randomness(self, trace_id: bytes) -> int:
        """Return the randomness of a trace, which is at least :attr:`threshold` if it is sampled.

        https://opentelemetry.io/docs/specs/otel/trace/tracestate-probability-sampling/

        Args:
            trace_id: the id of the trace.
        """
        if self.is_explicit:
            return (1 << 64) - 1 - int.from_bytes(trace_id[8:], "big") >> 8
        # Another sampler may use the bits of the specification.
        return int.from_bytes(trace_id[1:8] if self.bound is None else trace_id[9:], "big")


def make_sampling(name: str, argument: str) -> Sampling:
    """Return the sampler of ``OTEL_TRACES_SAMPLER`` and ``OTEL_TRACES_SAMPLER_ARG``.

    Args:
        name: one of :data:`~avatar_telemetry.config.parsing.SAMPLERS`, or of an entry point.
        argument: a share from 0 to 1 for the standard ratio samplers (empty: 1); the format of
            another sampler depends on it.
    """
    if name not in SAMPLERS:
        return Sampling(_load(name)(argument))
    root, bound = _root(name.removeprefix("parentbased_"), float(argument or 1))
    if name.startswith("parentbased_"):
        return Sampling(ParentBased(root), bound, follows_parent=True)
    return Sampling(root, bound)


def _root(name: str, share: float) -> tuple[Sampler, bytes]:
    """Return the sampler of the root span of a trace, and :attr:`Sampling.bound`."""
    if name == "always_on":
        return ALWAYS_ON, EVERY
    if name == "always_off":
        return ALWAYS_OFF, b""
    sampler = TraceIdRatioBased(share)
    if sampler.bound > TraceIdRatioBased.TRACE_ID_LIMIT:
        return sampler, EVERY
    return sampler, sampler.bound.to_bytes(8, "big")


def _load(name: str) -> Callable[[str], Sampler]:
    point = next(iter(entry_points(group="opentelemetry_traces_sampler", name=name)))
    factory: Callable[[str], Sampler] = point.load()
    return factory
