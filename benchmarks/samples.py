"""Samples of a metrics page."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families


def total(page: str, sample: str) -> float:
    """Return the samples of one name, summed over their labels."""
    return sum(
        float(line.rpartition(" ")[2])
        for line in page.splitlines()
        if line.startswith((sample + "{", sample + " "))
    )


def totals(page: str) -> dict[str, float]:
    """Return the sum of every name."""
    summed: dict[str, float] = {}
    for line in page.splitlines():
        if line and not line.startswith("#"):
            key, _, value = line.rpartition(" ")
            name = key.partition("{")[0]
            summed[name] = summed.get(name, 0.0) + float(value)
    return summed


def count(page: str) -> int:
    """Return the number of samples."""
    return sum(not line.startswith("#") for line in page.splitlines())


def values(page: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample of the page, by its name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }
