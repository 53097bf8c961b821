"""The real Collector and Prometheus that the fleet pushes to, and what they report of themselves.

Both are programs on the ``PATH``, listen on loopback only and end with their block.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.samples import totals

DEPLOY = Path(__file__).parents[1] / "deploy" / "collector"
COLLECTOR_YAML = DEPLOY / "collector.yaml"
MIB = 1 << 20
CONNECTIONS = 4096
LONG = 300
"""Seconds that a page of a million series may take."""
CONFIGURATION = """
global: {{scrape_interval: {every}s, scrape_timeout: {every}s}}
otlp: {{convert_histograms_to_nhcb: {native}}}
scrape_configs:
  - job_name: collector
    honor_labels: true
    static_configs:
      - targets: {targets}
"""
Self = Callable[[], dict[str, float]]
"""The metrics of a server about itself, each summed over its labels."""


class Store:
    """A running Prometheus.

    Args:
        url: of its API.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.otlp = f"{url}/api/v1/otlp"

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The result of an instant query."""
        query = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"{self.url}/api/v1/query?{query}", timeout=30) as response:
            result: list[dict[str, Any]] = json.load(response)["data"]["result"]
            return result


@dataclass(frozen=True)
class Collector:
    """The URLs of a running Collector: for OTLP, and for a Prometheus that scrapes."""

    otlp_http: str
    otlp_grpc: str
    metrics_url: str


@contextmanager
def a_collector(
    folder: Path, trace_store: str, *configurations: Path, **env: str
) -> Iterator[tuple[Collector, Self]]:
    """A Collector that takes what comes, and what it reports of itself."""
    folder.mkdir(parents=True)
    command = [program("otelcol")]
    for each in configurations or (COLLECTOR_YAML,):
        command += ["--config", str(each)]
    with free_addresses(5) as (grpc, http, metrics, health, own):
        environ = {
            "COLLECTOR_OTLP_GRPC": grpc, "COLLECTOR_OTLP_HTTP": http,
            "COLLECTOR_PROMETHEUS": metrics, "COLLECTOR_HEALTH": health,
            "COLLECTOR_SELF_PORT": own.rpartition(":")[2], "COLLECTOR_DEBUG": "basic",
            "COLLECTOR_MEMORY_MIB": "8192", "COLLECTOR_TRACE_STORE": trace_store, **env,
        }  # fmt: skip
        with running(command, folder / "otelcol.log", f"http://{health}/", environ) as process:
            urls = Collector(f"http://{http}", f"http://{grpc}", f"http://{metrics}/metrics")
            yield urls, lambda: page_of(f"http://{own}")
            process.terminate()
            process.wait(LONG)


@contextmanager
def a_prometheus(folder: Path, every: int, *targets: str, native: bool = False) -> Iterator[Store]:
    """A Prometheus that takes OTLP, and scrapes.

    Args:
        folder: for its data and its log.
        every: seconds between two scrapes.
        targets: host and port of each page that it scrapes.
        native: it stores each pushed histogram as one native histogram.
    """
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "prometheus.yml"
    configuration.write_text(
        CONFIGURATION.format(every=every, targets=json.dumps(targets), native=json.dumps(native))
    )
    with free_addresses(1) as (address,):
        command = [
            program("prometheus"), f"--config.file={configuration}",
            f"--storage.tsdb.path={folder}/tsdb",
            f"--web.listen-address={address}", "--web.enable-otlp-receiver",
            # Each host keeps its connection. Beyond 512 of them, which is the default, the others
            # would wait for ever.
            f"--web.max-connections={CONNECTIONS}",
        ]  # fmt: skip
        # With many series a regular end takes minutes; its data goes anyway, so it is killed.
        with running(command, folder / "prometheus.log", f"http://{address}/-/ready"):
            yield Store(f"http://{address}")


def program(name: str) -> str:
    """The path of a server's program.

    Raises:
        SystemExit: it is not on the ``PATH``.
    """
    path = shutil.which(name)
    if path is None:
        raise SystemExit(f"{name} is not on the PATH; tests/support/build_servers.py builds it")
    return path


@contextmanager
def free_addresses(number: int) -> Iterator[list[str]]:
    """Addresses on loopback that the kernel gives to no other process until the block ends.

    A server may listen on them, since it sets ``SO_REUSEADDR`` as the sockets here do.
    """
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            each.bind(("127.0.0.1", 0))
        yield [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]


@contextmanager
def running(
    command: list[str], log: Path, health: str, env: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A server's process, once its health URL returns 200; it is killed with the block.

    Raises:
        SystemExit: it ended, or is not healthy in time.
    """
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command, stdout=output, stderr=output, cwd="/", env={**os.environ, **(env or {})}
        ) as process,
    ):
        try:
            end = time.monotonic() + LONG
            while not is_healthy(health):
                if process.poll() is not None or time.monotonic() > end:
                    raise SystemExit(f"{command[0]} did not start: {log.read_text()[-500:]}")
                time.sleep(0.05)
            yield process
        finally:
            process.kill()


def is_healthy(url: str) -> bool:
    """Return whether a server says that it is ready."""
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def of_prometheus(store: Store) -> dict[str, Any]:
    """The size of its head, and its memory."""
    page = page_of(store.url)
    series = page["prometheus_tsdb_head_series"]
    memory = page["process_resident_memory_bytes"]
    return {
        "series": round(series),
        "samples": round(page["prometheus_tsdb_head_samples_appended_total"]),
        "prometheus_mib": round(memory / MIB),
        "prometheus_kib_a_series": round(memory / series / 1024, 2),
    }


def page_of(url: str) -> dict[str, float]:
    """A server's own metrics."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as answer:
        return totals(answer.read().decode())


def size_of(url: str) -> int:
    """Bytes of a page, which may be large."""
    with urllib.request.urlopen(url, timeout=LONG) as answer:
        return sum(len(part) for part in iter(lambda: answer.read(MIB), b""))
