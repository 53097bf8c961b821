"""Synthetic hosts: the series of a real demo server under traffic, pushed as each of many hosts.

    with demo(folder, sink.url) as server:
        visit(server)
        families = server.families()
    hosts = [Host(number, families, endpoint, folder) for number in range(1, 101)]
    hosts[0].push()

A push is that of a real exporter: the SDK's exporter behind our own bridge, from a process of its
own for the fleet alone.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from random import Random

from avatar_telemetry._base.guard import Guard
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.exporter.clients import make_clients
from avatar_telemetry.exporter.continuity import Continuity
from avatar_telemetry.exporter.failures import failure_log
from avatar_telemetry.exporter.pusher import Pusher
from avatar_telemetry.metrics.collector import Collector, Server
from avatar_telemetry.metrics.family import Family

REPOSITORY = Path(__file__).parent.parent
WORKERS = 4
START_SECONDS = 60
STOP_SECONDS = 40
VISITS = "2000"
LISTENING = re.compile(rb"Listening at: http://127\.0\.0\.1:(\d+)")


class Demo:
    """A running demo server.

    Args:
        url: its base address.
        master: pid of its master.
        folder: its runtime folder.
    """

    def __init__(self, url: str, master: int, folder: Path) -> None:
        self.url = url
        self._master = master
        self._folder = folder

    def families(self) -> list[Family]:
        """The families that its exporter would push."""
        settings = Settings.from_env({"OTEL_EXPORT_ENABLED": "true"})
        return Collector(self._folder, settings, Server(self._master)).collect()


@contextmanager
def demo(folder: Path, endpoint: str, compression: str = "none") -> Iterator[Demo]:
    """The demo server with all its workers, which exports all spans.

    Args:
        folder: for what it keeps; its own.
        endpoint: of the spans; the outside services are looked for there, too, and not found.
        compression: of the spans.

    Raises:
        RuntimeError: it did not start.
    """
    runtime = folder / "metrics"
    environ = os.environ | {
        "OTEL_EXPORT_ENABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_COMPRESSION": compression, "OTEL_METRICS_EXPORTER": "none",
        "DEMO_GRAVATAR_URL": endpoint, "DEMO_BLUESKY_URL": endpoint,
        "PROMETHEUS_MULTIPROC_DIR": str(runtime), "DEMO_DATA": str(folder / "data"),
        "WEB_CONCURRENCY": str(WORKERS), "GUNICORN_BIND": "127.0.0.1:0",
    }  # fmt: skip
    log = folder / "gunicorn.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py"],
            cwd=REPOSITORY, env=environ, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        yield Demo(f"http://127.0.0.1:{_port(process, log)}", process.pid, runtime)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_SECONDS)


def visit(server: Demo) -> None:
    """Let visitors do what people do: avatars, pages, accounts, uploads, outside services."""
    command = [sys.executable, "-m", "avatar_demo.simulate", "--outside", "--json",
               "--requests", VISITS, server.url]  # fmt: skip
    subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)


class Host:
    """A host of the fleet: an exporter that pushes what the demo has counted, and more each time.

    Args:
        number: of the host, which its name has.
        families: that it begins with.
        endpoint: URL that metrics are posted to.
        folder: for what exporters keep.
        compression: of its pushes.
        timeout: seconds until a push is given up.
    """

    def __init__(
        self,
        number: int,
        families: Sequence[Family],
        endpoint: str,
        folder: Path,
        compression: str = "gzip",
        timeout: float = 60.0,
    ) -> None:
        settings = Settings.from_env(
            {
                "OTEL_EXPORT_ENABLED": "true", "OTEL_SERVICE_NAME": "ivatar-production",
                "OTEL_ENVIRONMENT": "production", "HOSTNAME": f"host-{number:04}",
                "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": endpoint,
                "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION": compression,
                "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT": str(timeout),
                "OTEL_METRIC_EXPORT_TIMEOUT": str(round(timeout * 1_000)),
            }
        )  # fmt: skip
        own = folder / settings.hostname
        own.mkdir(parents=True, exist_ok=True)
        self._name = settings.hostname
        self._families = families
        self.pushed: Sequence[Family] = ()
        self._pushes = 0
        continuity = Continuity(own, time.time_ns(), delta=False)
        self._pusher = Pusher(
            settings, make_clients(settings, "metrics"), self.collect, continuity,
            count=lambda result: None, log=failure_log(settings, "metrics", own), guard=Guard(),
        )  # fmt: skip

    def collect(self) -> list[Family]:
        """Return its counts of now; :attr:`pushed` keeps them."""
        self._pushes += 1
        self.pushed = [grown(each, self._pushes * self._pace(each)) for each in self._families]
        return self.pushed

    def push(self) -> bool:
        """One push; whether all of it arrived."""
        return self._pusher.push()

    def _pace(self, family: Family) -> int:
        """Numbers as busy hosts have them, or a compressor would find nearly nothing to keep."""
        return Random(f"{self._name} {family.name}").randrange(1_000, 100_000)


def grown(family: Family, times: int) -> Family:
    """Return a family whose sums and buckets, not its gauges, are so many times as large."""
    if family.type not in ("counter", "histogram"):
        return family
    return replace(family, values=[value * times for value in family.values])


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + START_SECONDS
    while not (found := LISTENING.search(log.read_bytes())):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the demo did not start: {log.read_text(errors='replace')[-500:]}")
        time.sleep(0.05)
    return int(found[1])
