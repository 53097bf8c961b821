"""django-prometheus in multiprocess mode, around the view of ``django_bare``."""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from benchmarks.peers import Wrapped
from benchmarks.peers.django_bare import handler
from benchmarks.samples import total

COUNTED = "django_http_responses_before_middlewares_total"


def wrap(name: str) -> Wrapped:
    """Django between the two middlewares of django-prometheus."""
    application = handler(
        "django_prometheus.middleware.PrometheusBeforeMiddleware",
        "django_prometheus.middleware.PrometheusAfterMiddleware",
    )
    return Wrapped(application, requests=lambda: _counted(os.environ["PROMETHEUS_MULTIPROC_DIR"]))


def _counted(folder: str) -> float:
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=folder)
    return total(generate_latest(registry).decode(), COUNTED)
