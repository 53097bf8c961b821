"""Metrics of prometheus_client that live in one process alone."""

from __future__ import annotations

from collections.abc import Iterator

import prometheus_client
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector as ClientCollector

from avatar_telemetry._base.log import LOGGER
from avatar_telemetry.metrics.family import Family, legal_labels, legal_name, printable

ABSENT = (
    "metric %s is not on the page: an %s has no value common to several processes; use a Gauge with"
    ' multiprocess_mode="mostrecent" and the texts as labels'
)


def registered_families(registry: ClientCollector) -> Iterator[Family]:
    """Yield what is registered, each metric as it is shown on the page.

    Raises:
        Exception: a collector of the application raised it.
    """
    yield from map(_family, registry.collect())


def warn_of_absent() -> None:
    """Log which Info and Enum of the application are absent from the merged page."""
    # prometheus_client lists what is registered by collecting all of it, the application's own
    # collectors included.
    registered = getattr(prometheus_client.REGISTRY, "_collector_to_names", {})
    for metric in list(registered):
        if isinstance(metric, prometheus_client.Info | prometheus_client.Enum):
            (described,) = metric.describe()
            LOGGER.warning(ABSENT, described.name, type(metric).__name__)


def _family(metric: Metric) -> Family:
    samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
    return Family.of(
        legal_name(metric.name), metric.type, printable(metric.documentation),
        [(legal_name(each.name), legal_labels(each.labels), each.value) for each in samples],
    )  # fmt: skip
