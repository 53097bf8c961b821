"""Open-loop load by vegeta: requests arrive at a constant rate, however long responses take.

A closed loop (wrk) waits for each response before its next request, and so hides how long others
would have waited in the meantime.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.results import say

MODULE = "github.com/tsenart/vegeta/v12"
VERSION = "v12.13.0"
CONNECTIONS = 4
"""Concurrent requests of a load without a rate; as many as wrk has."""
MAX_FAILED = 0.001
"""Share of requests without a response of status 200 above which a load is not valid."""


@dataclass(frozen=True)
class Latencies:
    """Seconds from the time at which a request was due until its response was complete."""

    p90: float
    p99: float
    longest: float
    answered: int
    throughput: float
    """Responses a second."""


def program() -> Path:
    """Return the path of vegeta, built from its Go module where it is missing.

    Raises:
        SystemExit: it is missing, and there is no Go to build it with.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = base / "avatar-telemetry-benchmarks" / f"vegeta-{VERSION}" / "vegeta"
    if not path.exists():
        say(f"building {MODULE}@{VERSION} in {path.parent}")
        environ = os.environ | {"GOBIN": str(path.parent), "GOFLAGS": "-mod=mod"}
        command = ["go", "install", f"{MODULE}@{VERSION}"]
        try:
            subprocess.run(command, env=environ, cwd="/", check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise SystemExit(f"vegeta cannot be built: {error}") from None
    return path


def start(url: str, rate: int, seconds: float) -> subprocess.Popen[str]:
    """Start a load of so many requests a second; 0: as many as :data:`CONNECTIONS` can make."""
    bound = "" if rate else f" -max-workers={CONNECTIONS}"
    attack = f'"$0" attack -rate={rate}{bound} -duration={seconds}s -timeout=30s'
    command = f'{attack} | "$0" report -type=json'
    process = subprocess.Popen(
        ["sh", "-c", command, str(program())], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(f"GET {url}\n")
    process.stdin.close()
    process.stdin = None  # or communicate() would write to it
    return process


def finish(process: subprocess.Popen[str], max_failed: float = MAX_FAILED) -> Latencies:
    """Wait for the end of a load.

    Raises:
        RuntimeError: too large a share of the requests failed.
    """
    report = json.loads(process.communicate()[0])
    if 1 - report["success"] > max_failed:
        raise RuntimeError(f"vegeta: {report['status_codes']}, {report['errors'][:3]}")
    times = {name: nanoseconds / 1e9 for name, nanoseconds in report["latencies"].items()}
    answered = report["status_codes"].get("200", 0)
    return Latencies(times["90th"], times["99th"], times["max"], answered, report["throughput"])


def attack(url: str, rate: int, seconds: float) -> Latencies:
    """Make a load, and wait for its end.

    Raises:
        RuntimeError: see :func:`finish`.
    """
    return finish(start(url, rate, seconds))
