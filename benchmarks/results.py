"""Results: figures with their spread, kept as JSON with the machine and the versions."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from collections.abc import Iterable
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"
PACKAGES = (
    "avatar-telemetry", "ddtrace", "django", "django-prometheus", "gunicorn",
    "opentelemetry-instrumentation-wsgi", "opentelemetry-sdk", "pillow", "prometheus-client",
    "protobuf", "sentry-sdk",
)  # fmt: skip


def summary(values: Iterable[float], digits: int = 3) -> dict[str, float]:
    """The median and what lies around it.

    Args:
        values: at least one.
        digits: after the point.

    Returns:
        ``median``, the middle half (``low`` to ``high``), and how many there were.
    """
    ordered = sorted(values)
    if len(ordered) < 3:
        low, high = ordered[0], ordered[-1]
    else:
        low, _, high = statistics.quantiles(ordered, n=4, method="inclusive")
    return {
        "median": round(statistics.median(ordered), digits),
        "low": round(low, digits),
        "high": round(high, digits),
        "values": len(ordered),
    }


def machine() -> dict[str, Any]:
    """The machine and the versions of a run."""
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "load_before": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def write(part: str, results: dict[str, Any], folder: Path, *, quick: bool) -> None:
    """Write the results of a part.

    Args:
        part: name of the file.
        results: its figures.
        folder: where to.
        quick: whether the run was a short one, which is not for the tables.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"machine": machine(), "quick": quick, "results": results}, indent=1)
    (folder / f"{part}.json").write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(f"{part}: written to {folder}\n")


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the results of a folder, by part."""
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*.json"))
    }


def say(text: str) -> None:
    """Report the progress of a run."""
    sys.stderr.write(text + "\n")


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
