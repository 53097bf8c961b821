"""The real Collector and Prometheus that the fleet pushes to, and what they tell of themselves.

Both listen on loopback only and end with their block.
"""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.samples import totals
from tests.support.build_servers import prometheus
from tests.support.real_collector import Collector, collector
from tests.support.real_prometheus import Prometheus
from tests.support.real_servers import unavailable
from tests.support.waiting import eventually, free_port

MIB = 1 << 20
CONNECTIONS = 4096
LONG = 300
"""Seconds that a page of a million series may take."""
CONFIGURATION = """
global: {{scrape_interval: {every}s, scrape_timeout: {every}s}}
scrape_configs:
  - job_name: collector
    honor_labels: true
    static_configs:
      - targets: {targets}
"""
Self = Callable[[], dict[str, float]]
"""What a server tells of itself: each sample summed over its labels."""


@contextmanager
def a_collector(
    folder: Path, trace_store: str, *configurations: Path, **env: str
) -> Iterator[tuple[Collector, Self]]:
    """A Collector that takes what comes, and what it tells of itself."""
    folder.mkdir(parents=True)
    port = free_port()
    own = {
        "COLLECTOR_SELF_PORT": str(port), "COLLECTOR_DEBUG": "basic",
        "COLLECTOR_MEMORY_MIB": "8192", "COLLECTOR_TRACE_STORE": trace_store,
    }  # fmt: skip
    with collector(folder, *configurations, **own, **env) as started:
        yield started, lambda: page_of(f"http://127.0.0.1:{port}")


@contextmanager
def a_prometheus(folder: Path, every: int, *targets: str) -> Iterator[Prometheus]:
    """A Prometheus that takes OTLP, and scrapes."""
    program, port = prometheus(), free_port()
    if not program.exists():
        unavailable("Prometheus is not built; see tests/support/build_servers.py")
    folder.mkdir(parents=True, exist_ok=True)
    configuration = folder / "prometheus.yml"
    configuration.write_text(CONFIGURATION.format(every=every, targets=json.dumps(targets)))
    command = [
        str(program), f"--config.file={configuration}", f"--storage.tsdb.path={folder}/tsdb",
        f"--web.listen-address=127.0.0.1:{port}", "--web.enable-otlp-receiver",
        # Each host keeps its connection. Beyond 512 of them, which is the default, the others would
        # wait for ever.
        f"--web.max-connections={CONNECTIONS}",
    ]  # fmt: skip
    with (
        (folder / "prometheus.log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, cwd="/") as process,
    ):
        try:
            store = Prometheus(f"http://127.0.0.1:{port}")
            eventually(store.answers, "the store")
            yield store
        finally:
            # In peace it takes minutes to end where there are many series; its data goes anyway.
            process.kill()


def of_prometheus(store: Prometheus) -> dict[str, Any]:
    """What it holds, and what that takes."""
    told = page_of(store.url)
    series = told["prometheus_tsdb_head_series"]
    memory = told["process_resident_memory_bytes"]
    return {
        "series": round(series),
        "samples": round(told["prometheus_tsdb_head_samples_appended_total"]),
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
