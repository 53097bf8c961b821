"""A gunicorn that serves an application in one variant, and its load by wrk."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from math import sqrt
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from benchmarks.processes import exporter_of, processor_seconds
from benchmarks.request import PATH, QUERY
from benchmarks.samples import total
from benchmarks.sink import Sink, running_sink
from benchmarks.variants import VARIANTS, Variant

# A second gunicorn of the same user would take over the first one's control socket.
CONFIGURATION = """
control_socket_disable = True
workers = 1
accesslog = None
worker_tmp_dir = "/dev/shm"
"""
HOOKS = """
from avatar_telemetry.gunicorn import (
    child_exit, on_exit, on_starting, post_fork, worker_abort, worker_exit,
)
"""
CONNECTIONS = 4
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
START_SECONDS = 30
STOP_SECONDS = 40
POLL = 0.002
PROBED = {"identicon": 1}
"""Spans that our probes add to a sampled request of an application: Pillow's."""
# A full ring or queue drops spans at saturation; the share of those that arrived is reported. How
# many requests are sampled is a matter of chance, here of so many standard deviations.
LEAST_EXPORTED = 0.9
CHANCE = 5


@dataclass
class Server:
    """A running gunicorn.

    Args:
        variant: what it runs.
        application: the name of its application.
        url: its base address.
        master: pid of its master.
        sink: where it exports to.
        folder: for what it needs on disk.
        first_answer: seconds from the start of its process to its first answer.
        answered: requests that were answered until now.
    """

    variant: Variant
    application: str
    url: str
    master: int
    sink: Sink
    folder: Path
    first_answer: float = 0.0
    answered: int = 0

    @property
    def avatar(self) -> str:
        """The URL that is asked for."""
        return f"{self.url}{PATH}?{QUERY}"

    @property
    def runtime(self) -> Path:
        """Its runtime folder."""
        return self.folder / "metrics"

    @property
    def workers(self) -> list[int]:
        """Pids of the workers there are."""
        children = Path(f"/proc/{self.master}/task/{self.master}/children").read_text()
        return [int(pid) for pid in children.split()]

    @property
    def worker(self) -> int:
        """Pid of the first of them, once there is one."""
        while not (workers := self.workers):
            time.sleep(POLL)
        return workers[0]

    def exporter(self) -> int:
        """Wait until its exporter has started all that it does, and return its pid.

        Raises:
            RuntimeError: it has not in time.
        """
        deadline = time.monotonic() + START_SECONDS
        lock = self.runtime / "exporter.lock"  # holds the number of failed starts
        while time.monotonic() < deadline:
            pid = exporter_of(self.runtime)
            if pid and lock.read_text().strip() == "0":
                return pid
            time.sleep(POLL)
        raise RuntimeError("the exporter did not start")

    @property
    def spans(self) -> int:
        """Spans of one sampled request."""
        return self.variant.spans + (PROBED.get(self.application, 0) if self.variant.hooks else 0)

    def get(self) -> None:
        """One request."""
        with urllib.request.urlopen(self.avatar, timeout=10) as answer:
            answer.read()
        self.answered += 1

    def page(self) -> str:
        """Its page of metrics."""
        with urllib.request.urlopen(self.url + "/metrics", timeout=30) as answer:
            return str(answer.read().decode())

    def load(self, seconds: float) -> dict[str, float]:
        """Requests a second, the 99th percentile and the processor time of one, in seconds.

        Raises:
            RuntimeError: wrk reports errors, or says something that is not understood.
        """
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", self.avatar]
        before = processor_seconds(self.worker)
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        spent = processor_seconds(self.worker) - before
        p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", output)
        rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
        answered = re.search(r"(\d+) requests in", output)
        if not (p99 and rate and answered) or "Non-2xx" in output:
            raise RuntimeError(f"wrk said:\n{output}")
        self.answered += int(answered[1])
        return {
            "rate": float(rate[1]),
            "p99": float(p99[1]) * UNITS[p99[2]],
            "cpu": spent / int(answered[1]),
        }

    def requests_counted(self) -> float | None:
        """Return the requests on its own metrics, ``None`` where it has none."""
        if self.variant.module == "ours":
            return total(self.page(), "ivatar_requests_total")
        if self.variant.module == "django_prometheus":
            registry = CollectorRegistry()
            MultiProcessCollector(registry, path=str(self.runtime))
            page = generate_latest(registry).decode()
            return total(page, "django_http_responses_before_middlewares_total")
        return None


@dataclass(frozen=True)
class Setup:
    """The configuration of servers.

    Args:
        application: name of the application.
        worker_class: gunicorn's.
        configuration: more lines for ``gunicorn.conf.py``.
        pinned: whether the thresholds of the allocator are.
        environ: more variables.
    """

    application: str = "trivial"
    worker_class: str = "sync"
    configuration: str = ""
    pinned: bool = True
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Fleet:
    """Servers that run at once.

    Args:
        servers: those that have started.
        faults: why a variant is not measured.
        exported: the share of its spans that each variant exported, once the servers have ended.
    """

    servers: list[Server] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)
    exported: dict[str, float] = field(default_factory=dict)

    def check(self) -> None:
        """Raise where a variant is not measured.

        Raises:
            RuntimeError: one is not.
        """
        if self.faults:
            raise RuntimeError("; ".join(f"{name}: {why}" for name, why in self.faults.items()))


@contextmanager
def running_fleet(names: Iterable[str], setup: Setup) -> Iterator[Fleet]:
    """Start a server of each variant, and at the end prove that each has done its work."""
    fleet = Fleet()
    # A sink outlives its server, which may send its last spans at its end.
    with ExitStack() as sinks, tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        with ExitStack() as stack:
            for name in names:
                sink = sinks.enter_context(running_sink())
                starting = _running_server(VARIANTS[name], setup, Path(folder) / name, sink)
                try:
                    fleet.servers.append(stack.enter_context(starting))
                except RuntimeError as error:
                    fleet.faults[name] = str(error)
            yield fleet
            for server in fleet.servers:
                if fault := uncounted(server):
                    fleet.faults.setdefault(server.variant.name, fault)
        for server in fleet.servers:
            share = exported_share(server)
            if isinstance(share, str):
                fleet.faults.setdefault(server.variant.name, share)
            else:
                fleet.exported[server.variant.name] = share


@contextmanager
def _running_server(variant: Variant, setup: Setup, folder: Path, sink: Sink) -> Iterator[Server]:
    (folder / "metrics").mkdir(parents=True)
    config = folder / "gunicorn.conf.py"
    config.write_text(CONFIGURATION + (HOOKS if variant.hooks else "") + setup.configuration)
    port = _free_port()
    command = [
        sys.executable, "-m", "gunicorn", "-c", str(config), "-k", setup.worker_class,
        "--log-level", "error", "-b", f"127.0.0.1:{port}", "benchmarks.served:application",
    ]  # fmt: skip
    if setup.worker_class == "gthread":
        command += ["--threads", str(CONNECTIONS)]
    environment = os.environ | variant.environment(sink, pinned=setup.pinned) | {
        "BENCH_PEER": variant.module,
        "BENCH_APPLICATION": setup.application,
        "PROMETHEUS_MULTIPROC_DIR": str(folder / "metrics"),
        **setup.environ,
    }  # fmt: skip
    started = time.monotonic()
    with (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(command, env=environment, stderr=stderr)
    try:
        url = f"http://127.0.0.1:{port}"
        server = Server(variant, setup.application, url, process.pid, sink, folder)
        _wait_until_served(server, process)
        server.first_answer = time.monotonic() - started
        if variant.hooks and variant.sample:
            server.exporter()  # until then the ring only fills
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_SECONDS)


def uncounted(server: Server) -> str:
    """Return what the metrics of a server lack, empty where nothing."""
    counted = server.requests_counted()
    if counted is not None and counted < server.answered:
        return f"{counted:.0f} requests counted, {server.answered} answered"
    return ""


def exported_share(server: Server) -> float | str:
    """The share of the expected spans that arrived; text where that shows it does not work."""
    variant = server.variant
    expected = server.answered * variant.sample * server.spans
    if not expected:
        return 1.0
    spans = server.sink.counts()["spans"]
    least = LEAST_EXPORTED * expected if variant.hooks else 0
    if variant.sample < 1:
        least -= CHANCE * sqrt(expected * server.spans)
    if spans <= max(least, 0):
        return f"{spans} spans at the sink, {expected:.0f} expected"
    return spans / expected


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_until_served(server: Server, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            server.get()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                said = (server.folder / "stderr").read_text(errors="replace")
                raise RuntimeError(f"it did not start: {said.strip()[-500:]}") from None
            time.sleep(POLL)
