"""Which traces are recorded: the standard samplers, decided without building their arguments."""

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

Decide = Callable[[bytes, "bool | None"], bool]
"""``(trace id, whether the remote parent is sampled or None) -> sampled``."""


@dataclass(frozen=True)
class Sampling:
    """A sampler, and a short cut to its decisions.

    Args:
        sampler: the SDK's object.
        decide: the same decision, where nothing else than ids and flags counts; a child span then
            goes with its parent. ``None``: the sampler has to be asked each time.
    """

    sampler: Sampler
    decide: Decide | None = None


def make_sampling(name: str, argument: str) -> Sampling:
    """The sampler of ``OTEL_TRACES_SAMPLER`` and ``OTEL_TRACES_SAMPLER_ARG``.

    Args:
        name: one of :data:`~avatar_telemetry.config.parsing.SAMPLERS`, or of an entry point.
        argument: a share from 0 to 1 for the standard ratio samplers (empty: 1), else as the
            sampler likes it.
    """
    if name not in SAMPLERS:
        return Sampling(_load(name)(argument))
    root, bound = _root(name.removeprefix("parentbased_"), float(argument or 1))
    if not name.startswith("parentbased_"):
        return Sampling(root, lambda trace_id, parent: trace_id[8:] < bound)
    return Sampling(
        ParentBased(root),
        lambda trace_id, parent: trace_id[8:] < bound if parent is None else parent,
    )


def _root(name: str, share: float) -> tuple[Sampler, bytes]:
    """The sampler of a trace's first span, and what the end of a sampled trace's id is below."""
    if name == "always_on":
        return ALWAYS_ON, b"\xff" * 9
    if name == "always_off":
        return ALWAYS_OFF, b""
    sampler = TraceIdRatioBased(share)
    if sampler.bound > TraceIdRatioBased.TRACE_ID_LIMIT:
        return sampler, b"\xff" * 9
    return sampler, sampler.bound.to_bytes(8, "big")


def _load(name: str) -> Callable[[str], Sampler]:
    point = next(iter(entry_points(group="opentelemetry_traces_sampler", name=name)))
    factory: Callable[[str], Sampler] = point.load()
    return factory
