"""A real Prometheus for a test, that scrapes, or takes OTLP, or both.

    with prometheus(folder, "127.0.0.1:8000", otlp=True) as running:
        exporter = OTLPMetricExporter(f"{running.otlp}/v1/metrics")
        ...
        rates = running.vector("rate(ivatar_requests_total[5m])")

Its data is in the folder, and goes with it.
"""

from __future__ import annotations

import json
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.build_servers import prometheus as built_prometheus
from tests.support.real_servers import own_port, running
from tests.support.requirements import unavailable
from tests.support.waiting import DEADLINE, eventually

CONFIGURATION = """
global:
  scrape_interval: 1s
scrape_configs:
  - job_name: demo
    honor_labels: true
    static_configs:
      - targets: {targets}
"""
WINDOW = 300.0
"""Seconds before a time that :meth:`Prometheus.samples` looks back, unless told otherwise."""
Labels = frozenset[tuple[str, str]]


class Prometheus:
    """A running Prometheus.

    Args:
        url: of its API.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    @property
    def otlp(self) -> str:
        """Where it takes OTLP over HTTP, without the path of the signal."""
        return f"{self.url}/api/v1/otlp"

    def ask(self, path: str, **query: str) -> Any:
        """The response of the API for a path, such as ``rules`` or ``series``."""
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=DEADLINE) as answer:
            return json.load(answer)["data"]

    def query(self, expression: str, at: float | None = None) -> list[dict[str, Any]]:
        """The result of an instant query, at a time in seconds since the epoch or now."""
        when = time.time() if at is None else at
        result: list[dict[str, Any]] = self.ask("query", query=expression, time=f"{when:.3f}")[
            "result"
        ]
        return result

    def vector(self, expression: str, at: float | None = None) -> dict[Labels, float]:
        """The same by labels, without those that the scrape adds."""
        return {
            _own_labels(each["metric"]): float(each["value"][1])
            for each in self.query(expression, at)
        }

    def series(self, selector: str) -> dict[tuple[str, Labels], float]:
        """The values of now by name and labels, without those that the scrape adds."""
        return {
            (each["metric"]["__name__"], _own_labels(each["metric"])): float(each["value"][1])
            for each in self.query(selector)
        }

    def samples(
        self, selector: str, at: float | None = None, window: float = WINDOW
    ) -> dict[Labels, list[tuple[float, float]]]:
        """The raw samples of the window before a time: pairs of time and value."""
        return {
            _own_labels(each["metric"]): [(when, float(value)) for when, value in each["values"]]
            for each in self.query(f"{selector}[{window:.0f}s]", at)
        }

    def exemplars(self, selector: str) -> list[tuple[dict[str, str], dict[str, Any]]]:
        """The exemplars of the last hour, each with the labels of its series."""
        now = time.time()
        window = {"start": f"{now - 3600:.3f}", "end": f"{now + 60:.3f}"}
        return [
            (each["seriesLabels"], exemplar)
            for each in self.ask("query_exemplars", query=selector, **window)
            for exemplar in each["exemplars"]
        ]

    def await_samples(self, expression: str) -> dict[Labels, float]:
        """Wait until an expression gives something; what it gives."""
        eventually(lambda: self.query(expression) != [])
        return self.vector(expression)

    def answers(self) -> bool:
        """Return whether it accepts queries."""
        try:
            return self.query("vector(1)") != []
        except OSError:
            return False


@contextmanager
def prometheus(folder: Path, *targets: str, otlp: bool = False) -> Iterator[Prometheus]:
    """A Prometheus that takes queries.

    Args:
        folder: for its data and its log.
        targets: each ``host:port`` is scraped at ``/metrics`` once a second, as the job ``demo``;
            where a page says ``job`` and ``instance`` itself, these stay.
        otlp: it also takes metrics over OTLP.
    """
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "prometheus.yml"
    configuration.write_text(CONFIGURATION.format(targets=json.dumps(targets)))
    with configured(configuration, folder, otlp=otlp) as started:
        yield started


@contextmanager
def configured(configuration: Path, folder: Path, *, otlp: bool = False) -> Iterator[Prometheus]:
    """The same with a configuration of one's own.

    Args:
        configuration: its file; relative paths in it are relative to it.
        folder: for its data and its log.
        otlp: it also takes metrics over OTLP.
    """
    binary = built_prometheus()
    if not binary.exists():
        unavailable("Prometheus is not built; see tests/support/build_servers.py")
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        str(binary), f"--config.file={configuration}", f"--storage.tsdb.path={folder}/tsdb",
        "--enable-feature=exemplar-storage",
    ]  # fmt: skip
    if otlp:
        command.append("--web.enable-otlp-receiver")
    with own_port() as port:
        command.append(f"--web.listen-address=127.0.0.1:{port}")
        with running(command, folder / "prometheus.log", port):
            started = Prometheus(f"http://127.0.0.1:{port}")
            eventually(started.answers)
            yield started


def _own_labels(metric: dict[str, str]) -> Labels:
    added = {"__name__", "instance", "job"}
    return frozenset(
        (name, value) for name, value in metric.items()
        if name not in added and not name.startswith("otel_scope_")
    )  # fmt: skip
