"""A real Prometheus for a test, and what a test asks it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gunicorn_server import eventually, free_port

sys.path.insert(0, str(Path(__file__).parents[1]))
from build_servers import prometheus as built_prometheus
from real_servers import unavailable

WINDOW = 300.0
Labels = frozenset[tuple[str, str]]


class Prometheus:
    """A running Prometheus.

    Args:
        url: of its API.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def query(self, expression: str, at: float | None = None) -> list[dict[str, Any]]:
        """The result of an instant query, now or at a time."""
        parameters = {"query": expression, "time": f"{at or time.time():.3f}"}
        return self.ask("query", **parameters)["result"]

    def ask(self, path: str, **parameters: str) -> Any:
        """What an endpoint of the API answers."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=10) as answer:
            return json.load(answer)["data"]

    def vector(self, expression: str, at: float | None = None) -> dict[Labels, float]:
        """The result by labels, without those that the scrape adds."""
        return {
            _own_labels(each["metric"]): float(each["value"][1])
            for each in self.query(expression, at)
        }

    def samples(self, selector: str, at: float) -> dict[Labels, list[tuple[float, float]]]:
        """The raw samples of the window before a time."""
        return {
            _own_labels(each["metric"]): [(when, float(value)) for when, value in each["values"]]
            for each in self.query(f"{selector}[{WINDOW:.0f}s]", at)
        }


@contextmanager
def running_prometheus(configuration: Path, data: Path, *arguments: str) -> Iterator[Prometheus]:
    """Runs one until the end of the block.

    Args:
        configuration: its file; relative paths in it are relative to it.
        data: a folder for its storage and its log.
        arguments: more of the command line.
    """
    binary = built_prometheus()
    if not binary.exists():
        unavailable("Prometheus is not built; see tests/build_servers.py")
    data.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [str(binary), f"--config.file={configuration}", f"--storage.tsdb.path={data}/tsdb",
               f"--web.listen-address=127.0.0.1:{port}", *arguments]  # fmt: skip
    prometheus = Prometheus(f"http://127.0.0.1:{port}")
    log = data / "prometheus.log"
    with (
        open(log, "wb") as output,
        subprocess.Popen(command, stdout=output, stderr=output) as process,
    ):
        try:
            eventually(lambda: process.poll() is not None or _answers(prometheus), deadline=60.0)
            assert process.poll() is None, log.read_text(errors="replace")
            yield prometheus
        finally:
            process.terminate()
            process.wait(30)


def _answers(prometheus: Prometheus) -> bool:
    try:
        return prometheus.query("vector(1)") != []
    except OSError:
        return False


def _own_labels(metric: dict[str, str]) -> Labels:
    added = {"__name__", "instance", "job"}
    return frozenset((name, value) for name, value in metric.items() if name not in added)
