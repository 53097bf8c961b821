"""Throughput and latency behind gunicorn: bare and wrapped in turn in one run, loaded by wrk.

    python -m benchmarks.server [--worker sync] [--rounds 5] [--seconds 4] [--json FILE]

Needs wrk. Each round starts both servers anew, one after the other; ratios are taken pair by pair.
The run fails if the wrapped server's page does not show every request that wrk had answered.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIGURATION = """
control_socket_disable = True
workers = 1
accesslog = None
"""
HOOKS = """
from avatar_telemetry.gunicorn import child_exit, on_exit, on_starting, post_fork, worker_exit
"""
PATH = "/avatar/" + "0123456789abcdef" * 2 + "?s=80"
CONNECTIONS = 4
UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """The trivial application: what the layer adds is at its largest beside it."""
    start_response("200 OK", [("Content-Type", "image/png"), ("Content-Length", "5")])
    return [b"image"]


def wrapped_application() -> Any:
    """The same inside the layer."""
    from avatar_telemetry import instrument

    return instrument(application)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def server(variant: str, worker: str, folder: Path) -> Iterator[str]:
    """A running gunicorn; gives its base address."""
    configuration = folder / f"{variant}.conf.py"
    configuration.write_text(CONFIGURATION + (HOOKS if variant == "wrapped" else ""))
    target = "wrapped_application()" if variant == "wrapped" else "application"
    port = free_port()
    command = [
        sys.executable, "-m", "gunicorn", "-c", str(configuration), "-k", worker,
        "--log-level", "error", "-b", f"127.0.0.1:{port}", f"benchmarks.server:{target}",
    ]  # fmt: skip
    # The allocator grows and trims by chance; pinned thresholds keep two runs comparable.
    environ = os.environ | {"MALLOC_TRIM_THRESHOLD_": "268435456", "MALLOC_TOP_PAD_": "16777216"}
    if worker == "gthread":
        command += ["--threads", str(CONNECTIONS)]
    process = subprocess.Popen(command, env=environ)
    try:
        wait_until_answered(f"http://127.0.0.1:{port}{PATH}")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def wait_until_answered(url: str) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            urllib.request.urlopen(url, timeout=2).read()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def load(url: str, seconds: int) -> dict[str, float]:
    """Requests a second, the 99th percentile in seconds, and how many were answered."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", url + PATH]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", output)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    answered = re.search(r"(\d+) requests in", output)
    if not (p99 and rate and answered):
        raise SystemExit(f"wrk said something else:\n{output}")
    return {
        "rate": float(rate[1]),
        "p99": float(p99[1]) * UNITS[p99[2]],
        "answered": float(answered[1]),
    }


def counted(url: str) -> float:
    page = urllib.request.urlopen(url + "/metrics").read().decode()
    return sum(
        float(line.rpartition(" ")[2])
        for line in page.splitlines()
        if line.startswith("ivatar_requests_total{")
    )


def measure(variant: str, worker: str, seconds: int, folder: Path) -> dict[str, float]:
    with server(variant, worker, folder) as url:
        load(url, 1)
        before = counted(url) if variant == "wrapped" else 0.0
        result = load(url, seconds)
        if variant == "wrapped" and counted(url) - before < result["answered"]:
            raise SystemExit("the wrapped server did not count what it answered")
    return result


def run(worker: str, rounds: int, seconds: int, folder: Path) -> dict[str, Any]:
    """Measure both variants in turn."""
    pairs = [
        tuple(measure(variant, worker, seconds, folder) for variant in ("bare", "wrapped"))
        for _ in range(rounds)
    ]
    rates = sorted(after["rate"] / before["rate"] for before, after in pairs)
    tails = sorted(after["p99"] / before["p99"] for before, after in pairs)
    return {
        "benchmark": f"gunicorn, one {worker} worker, trivial application, metrics only",
        "python": platform.python_version(),
        "rounds": rounds,
        "seconds": seconds,
        "bare_requests_per_second": round(statistics.median(b["rate"] for b, _ in pairs)),
        "throughput_ratio": round(statistics.median(rates), 3),
        "throughput_ratio_spread": [round(rates[0], 3), round(rates[-1], 3)],
        "p99_ratio": round(statistics.median(tails), 2),
        "p99_ratio_spread": [round(tails[0], 2), round(tails[-1], 2)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worker", choices=("sync", "gthread"), default="sync")
    parser.add_argument("--rounds", type=int, default=5, help="pairs of runs")
    parser.add_argument("--seconds", type=int, default=4, help="load of each run")
    parser.add_argument("--json", type=Path, help="write the result there, too")
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed (Debian: apt-get install wrk)")
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        result = run(arguments.worker, arguments.rounds, arguments.seconds, Path(folder))
    text = json.dumps(result, indent=2)
    sys.stdout.write(text + "\n")
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
