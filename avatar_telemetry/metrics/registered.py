"""Metrics of prometheus_client that are in one process alone."""

from __future__ import annotations

from collections.abc import Iterator

import prometheus_client
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector as ClientCollector

from avatar_telemetry._base.log import LOGGER
from avatar_telemetry.metrics.family import (
    Family,
    legal_labels,
    legal_name,
    make_exemplar,
    printable,
)

ABSENT = (
    "metric %s is not on the page: an %s has no common value of several processes; use a Gauge with"
    ' multiprocess_mode="mostrecent" and the texts as labels'
)


def registered_families(registry: ClientCollector) -> Iterator[Family]:
    """Yield the registered metrics as families of the page.

    Raises:
        Exception: any error of a collector of the application.
    """
    yield from map(_family, registry.collect())


def warn_of_absent() -> None:
    """Warn of the application's Info and Enum metrics, which the merged page does not have."""
    # The public way of prometheus_client to list metrics would call the application's collectors.
    registered = getattr(prometheus_client.REGISTRY, "_collector_to_names", {})
    for metric in list(registered):
        if isinstance(metric, prometheus_client.Info | prometheus_client.Enum):
            (described,) = metric.describe()
            LOGGER.warning(ABSENT, described.name, type(metric).__name__)


def _family(metric: Metric) -> Family:
    samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
    made = {
        number: make_exemplar(each.exemplar.labels, each.exemplar.value, each.exemplar.timestamp)
        for number, each in enumerate(samples)
        if each.exemplar and each.name.endswith(("_bucket", "_total"))
    }
    return Family.of(
        legal_name(metric.name), metric.type, printable(metric.documentation),
        [(legal_name(each.name), legal_labels(each.labels), each.value) for each in samples],
        {number: each for number, each in made.items() if each is not None},
    )  # fmt: skip
