"""A gunicorn of one worker that serves an application in one variant, and its load by wrk."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from benchmarks.request import PATH, QUERY
from benchmarks.samples import total
from benchmarks.sink import Sink, running_sink
from benchmarks.variants import Variant

# A second gunicorn of the same user would take over the first one's control socket.
CONFIGURATION = """
control_socket_disable = True
workers = 1
accesslog = None
worker_tmp_dir = "/dev/shm"
"""
HOOKS = """
from avatar_telemetry.gunicorn import child_exit, on_exit, on_starting, post_fork, worker_exit
"""
# Half of the requests are for pictures that a cache can have, half for new ones, in every run.
DIGESTS = """
local number, first = 0, 0
init = function(args) first = tonumber(args[1]) * 1000000 end
request = function()
  number = number + 1
  local digest = number % 2 == 0 and number % 128 or first + number
  return wrk.format("GET", string.format("/avatar/%032x?s=80&d=identicon", digest))
end
"""
CONNECTIONS = 4
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
START_SECONDS = 30
STOP_SECONDS = 40
# Our own exporter loses nothing below its queue's limit. How many requests are sampled is a matter
# of chance, here of so many standard deviations.
LEAST_EXPORTED = 0.98
CHANCE = 5


@dataclass
class Server:
    """A running gunicorn.

    Args:
        variant: what it runs.
        url: its base address.
        master: pid of its master.
        sink: where it exports to.
        folder: for what it needs on disk.
        answered: requests that were answered until now.
        loads: how often it was loaded.
    """

    variant: Variant
    url: str
    master: int
    sink: Sink
    folder: Path
    answered: int = 0
    loads: int = 0

    @property
    def workers(self) -> list[int]:
        """Pids of the workers there are."""
        children = Path(f"/proc/{self.master}/task/{self.master}/children").read_text()
        return [int(pid) for pid in children.split()]

    @property
    def worker(self) -> int:
        """Pid of the first of them."""
        return self.workers[0]

    def get(self, path: str = f"{PATH}?{QUERY}") -> bytes:
        """One request."""
        self.answered += 1
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return bytes(answer.read())

    def load(self, seconds: float, script: str = "") -> dict[str, float]:
        """Requests a second, the 99th percentile and the processor time of one, in seconds.

        Raises:
            RuntimeError: wrk reports errors, or says something that is not understood.
        """
        self.loads += 1
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency"]
        if script:
            command += ["-s", script, self.url, "--", str(self.loads)]
        else:
            command.append(f"{self.url}{PATH}?{QUERY}")
        before = self._processor_time()
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        spent = self._processor_time() - before
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

    def _processor_time(self) -> float:
        """Seconds that all threads of the worker have run, exporters included."""
        threads = Path(f"/proc/{self.worker}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9

    def requests_counted(self) -> float | None:
        """What its own metrics show, where they can be asked."""
        if self.variant.module == "ours":
            with urllib.request.urlopen(self.url + "/metrics", timeout=30) as answer:
                return total(answer.read().decode(), "ivatar_requests_total")
        if self.variant.module == "django_prometheus":
            registry = CollectorRegistry()
            MultiProcessCollector(registry, path=str(self.folder / "metrics"))
            page = generate_latest(registry).decode()
            return total(page, "django_http_responses_before_middlewares_total")
        return None


@contextmanager
def running_server(
    variant: Variant,
    application: str,
    worker_class: str,
    folder: Path,
    sinks: ExitStack,
    configuration: str = "",
    *,
    pinned: bool = True,
) -> Iterator[Server]:
    """Start a sink and a gunicorn, and end the gunicorn.

    Args:
        variant: what to run.
        application: name of the application.
        worker_class: gunicorn's.
        folder: for the configuration and what else it needs; its own.
        sinks: ends the sink, which a server outlived by it can send its last spans to.
        configuration: more lines for ``gunicorn.conf.py``.
        pinned: whether the thresholds of the allocator are.

    Raises:
        RuntimeError: it did not start.
    """
    (folder / "metrics").mkdir(parents=True)
    config = folder / "gunicorn.conf.py"
    config.write_text(CONFIGURATION + (HOOKS if variant.hooks else "") + configuration)
    port = _free_port()
    command = [
        sys.executable, "-m", "gunicorn", "-c", str(config), "-k", worker_class,
        "--log-level", "error", "-b", f"127.0.0.1:{port}", "benchmarks.served:application",
    ]  # fmt: skip
    if worker_class == "gthread":
        command += ["--threads", str(CONNECTIONS)]
    sink = sinks.enter_context(running_sink())
    own = {
        "BENCH_PEER": variant.module,
        "BENCH_APPLICATION": application,
        "PROMETHEUS_MULTIPROC_DIR": str(folder / "metrics"),
        "DEMO_DATA": str(folder),
    }
    with (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            command, env=os.environ | variant.environment(sink, pinned=pinned) | own, stderr=stderr
        )
    try:
        server = Server(variant, f"http://127.0.0.1:{port}", process.pid, sink, folder)
        _wait_until_served(server, process)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_SECONDS)


def uncounted(server: Server) -> str:
    """What the metrics of a server lack, if anything."""
    counted = server.requests_counted()
    if counted is not None and counted < server.answered:
        return f"{counted:.0f} requests counted, {server.answered} answered"
    return ""


def exported_share(server: Server) -> float | str:
    """The share of the expected spans that arrived; text where that shows it does not work."""
    variant = server.variant
    expected = server.answered * variant.sample * variant.spans
    if not expected:
        return 1.0
    spans = server.sink.counts()["spans"]
    least = LEAST_EXPORTED * expected if variant.hooks else 0
    if variant.sample < 1:
        least -= CHANCE * sqrt(expected * variant.spans)
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
            server.answered -= 1
            if process.poll() is not None or time.monotonic() > deadline:
                said = (server.folder / "stderr").read_text(errors="replace")
                raise RuntimeError(f"it did not start: {said.strip()[-500:]}") from None
            time.sleep(0.05)
