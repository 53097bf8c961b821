"""Decisions of the standard samplers, without building their arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
