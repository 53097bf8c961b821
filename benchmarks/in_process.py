"""What one request costs in process: an avatar application bare and wrapped, in turn in one run.

    python -m benchmarks.in_process [--rounds 9] [--json FILE]

Every round times both sides; the spread over the rounds is reported beside the median. The run
fails if the wrapped side did not count each of its requests.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from avatar_telemetry.exposition import MetricsPage
from avatar_telemetry.guard import Guard
from avatar_telemetry.mapped import Book
from avatar_telemetry.metrics import Metrics
from avatar_telemetry.middleware import Layer, TelemetryMiddleware
from avatar_telemetry.profiles.ivatar import PROFILE
from avatar_telemetry.request import CURRENT
from avatar_telemetry.settings import Settings
from avatar_telemetry.store import MergedStore
from avatar_telemetry.telemetry import Telemetry

CALLS = 20_000
ENVIRON = {
    "REQUEST_METHOD": "GET",
    "SCRIPT_NAME": "",
    "PATH_INFO": "/avatar/" + "0123456789abcdef" * 2,
    "QUERY_STRING": "s=80&d=identicon",
    "SERVER_NAME": "localhost",
    "SERVER_PORT": "80",
}
Application = Callable[..., Iterable[bytes]]


def avatar_application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """An avatar that was looked up in the cache in vain and then drawn, as the probes tell it."""
    request = CURRENT.get()
    if request is not None:
        request.cache_lookup("django:filesystem", hit=False)
        request.generated("pydenticon5:Pydenticon5.draw")
    start_response("200 OK", [("Content-Type", "image/png"), ("Content-Length", "5")])
    return [b"image"]


def serve(application: Application) -> None:
    """One request as a server makes it."""
    body = application(dict(ENVIRON), lambda status, headers, exc_info=None: None)
    for _ in body:
        pass
    close = getattr(body, "close", None)
    if close is not None:
        close()


def measure(application: Application) -> float:
    """Microseconds a request."""
    started = time.perf_counter()
    for _ in range(CALLS):
        serve(application)
    return (time.perf_counter() - started) / CALLS * 1e6


def wrapped(folder: Path) -> TelemetryMiddleware:
    """The application inside a layer that writes into this folder."""
    settings = Settings.from_env({})
    book = Book()
    book.open(folder, "0")
    metrics = Metrics(book, settings.max_series)
    guard = Guard(metrics.internal_error)
    telemetry = Telemetry(metrics, guard, PROFILE, {size: str(size) for size in settings.sizes})
    layer = Layer(telemetry, settings, MetricsPage(list, guard))
    return TelemetryMiddleware(avatar_application, lambda: layer)


def counted(folder: Path) -> dict[str, float]:
    """The counters of the folder, summed over their labels."""
    return {
        family.name: sum(family.values)
        for family in MergedStore(folder).read(["0"])
        if family.type == "counter"
    }


def run(rounds: int) -> dict[str, Any]:
    """Time both sides in turn.

    Raises:
        SystemExit: a request was not counted.
    """
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        folder = Path(name)
        telemetry = wrapped(folder)
        pairs = [(measure(avatar_application), measure(telemetry)) for _ in range(rounds)]
        totals = counted(folder)
    for metric in ("ivatar_requests", "ivatar_avatar_requests", "ivatar_avatars_generated"):
        if totals.get(metric) != rounds * CALLS:
            raise SystemExit(f"{metric}: {totals.get(metric)} counted, {rounds * CALLS} made")
    added = sorted(after - before for before, after in pairs)
    return {
        "benchmark": "in process, one avatar request, all metrics",
        "python": platform.python_version(),
        "rounds": rounds,
        "bare_us": round(statistics.median(before for before, _ in pairs), 2),
        "wrapped_us": round(statistics.median(after for _, after in pairs), 2),
        "added_us": round(statistics.median(added), 2),
        "added_us_spread": [round(added[0], 2), round(added[-1], 2)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9, help="times both sides are measured")
    parser.add_argument("--json", type=Path, help="write the result there, too")
    arguments = parser.parse_args()
    result = run(arguments.rounds)
    text = json.dumps(result, indent=2)
    sys.stdout.write(text + "\n")
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
