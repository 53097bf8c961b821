"""The samples of a runtime folder, by name and labels."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from avatar_telemetry.metrics.family import Exemplar
from avatar_telemetry.metrics.merged import MergedStore

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples_in(folder: Path, alive: tuple[str, ...] = ("0", "1", "2")) -> Samples:
    """The merged samples of the files of a folder.

    Args:
        folder: a runtime folder.
        alive: the identifiers whose live gauges count.
    """
    return {
        (name, frozenset(labels)): value
        for family in MergedStore(folder).read(alive)
        for name, labels, value in zip(family.names, family.labels, family.values, strict=True)
    }


def exemplars_in(folder: Path) -> dict[tuple[str, frozenset[tuple[str, str]]], Exemplar]:
    """The exemplars of the same."""
    return {
        (family.names[line], frozenset(family.labels[line])): exemplar
        for family in MergedStore(folder).read(())
        for line, exemplar in family.exemplars.items()
    }


def samples_of_client(folder: Path) -> Samples:
    """The same as prometheus_client's collector merges them."""
    collector = MultiProcessCollector(CollectorRegistry(), path=str(folder))
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for metric in collector.collect()
        for sample in metric.samples
    }
