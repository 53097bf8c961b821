"""A store with a provider of the OpenTelemetry API, and a look at its page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from opentelemetry.metrics import CallbackOptions, Observation

from avatar_telemetry._base.guard import Guard
from avatar_telemetry.metrics.api_meters import StoredMeterProvider
from avatar_telemetry.metrics.api_series import stored_values
from avatar_telemetry.metrics.family import Family
from avatar_telemetry.metrics.mapped import Book
from avatar_telemetry.metrics.merged import MergedStore

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class ApiStore:
    """One process of a runtime folder, or several that take turns.

    Args:
        folder: the runtime folder.
        slot: the identifier of the process.
    """

    def __init__(self, folder: Path, slot: str = "s0") -> None:
        self.folder = folder
        self.slots = [slot]
        self.failures: list[str] = []
        self.book = Book(lambda: self.failures.append("store"))
        self.book.open(folder, slot)
        self.provider = StoredMeterProvider(self.book, Guard(self.failures.append))
        self._observed: set[Any] = set()
        self.meter = self.provider.get_meter("mine")

    def other(self, slot: str) -> ApiStore:
        """Another process of the same folder."""
        self.slots.append(slot)
        other = ApiStore(self.folder, slot)
        other.slots = self.slots
        return other

    def families(self) -> dict[str, Family]:
        """The merged families by name."""
        return {each.name: each for each in MergedStore(self.folder).read(self.slots)}

    def samples(self) -> Samples:
        """All samples of the merged store."""
        return {
            (name, frozenset(labels)): value
            for family in self.families().values()
            for name, labels, value in zip(family.names, family.labels, family.values, strict=True)
        }

    def value(self, sample: str, scope: str = "mine", **labels: str) -> float | None:
        """The value of one sample of a scope; ``None`` where it is not there."""
        named = {**labels, "otel_scope_name": scope}
        return self.samples().get((sample, frozenset(named.items())))

    def observe(self, instrument: Any) -> None:
        """Ask the callbacks of an observable instrument once, without a thread."""
        if instrument not in self._observed:
            self._observed.add(instrument)
            self.take_over(instrument)
        instrument.observe(1.0)

    def take_over(self, instrument: Any) -> None:
        """Let an observable instrument go on with what other processes have observed."""
        name = instrument.metric.name
        instrument.take_over(stored_values(self.folder, [instrument.metric])[name])

    def close(self) -> None:
        """Close the files."""
        self.provider.observers.stop()
        self.book.detach()


def observing(
    values: Mapping[str, float] | Callable[[], Mapping[str, float]],
) -> Callable[[CallbackOptions], Iterator[Observation]]:
    """A callback that reports values by the attribute ``of``; the empty text is none.

    Args:
        values: read at each call.
    """

    def callback(options: CallbackOptions) -> Iterator[Observation]:
        for of, value in (values() if callable(values) else values).items():
            yield Observation(value, {"of": of} if of else None)

    return callback
