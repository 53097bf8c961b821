"""``simulate``: a realistic, repeatable mix of traffic to a server, and what came back."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import click

from avatar_telemetry.cli.output import say, say_json, say_table
from avatar_telemetry.cli.traffic import Visitor
from avatar_telemetry.cli.web import Site, WebError

MAX_REQUESTS = 1_000_000
MAX_VISITORS = 64
GIVE_UP = 20
"""Requests without an answer, one after the other, after which the server is taken to be away."""
LOOK = 0.05
"""Seconds between two looks at the visitors."""


class Tally:
    """What the visitors have seen. Thread safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.statuses: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self.seconds: defaultdict[str, list[float]] = defaultdict(list)
        self.sent = 0
        self.unanswered = 0
        self.gave_up = False
        self.stopped = threading.Event()

    def tell(self, action: str, status: int, seconds: float) -> None:
        """A request has come to its end."""
        with self._lock:
            self.sent += 1
            self.statuses[action][status] += 1
            self.seconds[action].append(seconds)
            self.unanswered = self.unanswered + 1 if status == 0 else 0
            if self.unanswered >= GIVE_UP:
                # For good: a request that was under way may still be answered.
                self.gave_up = True
                self.stopped.set()

    def rows(self) -> list[dict[str, Any]]:
        """What became of each action."""
        return [
            {
                "action": action,
                "requests": sum(statuses.values()),
                "statuses": {
                    str(code) if code else "none": statuses[code] for code in sorted(statuses)
                },
                "p50_seconds": _quantile(self.seconds[action], 0.5),
                "p95_seconds": _quantile(self.seconds[action], 0.95),
            }
            for action, statuses in sorted(self.statuses.items())
        ]


@click.command("simulate")
@click.argument("url")
@click.option(
    "--requests", "-n", default=1000, type=click.IntRange(1, MAX_REQUESTS), show_default=True
)
@click.option(
    "--concurrency",
    "-c",
    default=4,
    type=click.IntRange(1, MAX_VISITORS),
    show_default=True,
    help="Visitors at once.",
)
@click.option(
    "--rate",
    default=0.0,
    type=click.FloatRange(0),
    help="Requests a second of all visitors; 0: as fast as answered.",
)
@click.option(
    "--random-state", default=1, show_default=True, help="The same number sends the same mix."
)
@click.option("--outside", is_flag=True, help="Also what makes the server ask Gravatar.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def simulate(
    url: str,
    requests: int,
    concurrency: int,
    rate: float,
    random_state: int,
    outside: bool,
    as_json: bool,
) -> int:
    """Send a realistic mix of requests to the avatar server at URL.

    Visitors register, log in, upload photos, and ask for avatars and pages, a few wrongly. They
    use only what the server's pages offer. Their accounts (simulated-...@example.com) stay there.

    \b
    Examples:
      avatar-telemetry simulate http://127.0.0.1:8000
      avatar-telemetry simulate http://127.0.0.1:8000 -n 20000 -c 16 --rate 200 --random-state 7
    """
    site = Site(url)
    site.ask("GET", "/")  # one clear message where nobody is there
    tally = Tally()
    visitors = [
        Visitor(
            site, f"simulated-{number}", random_state, _share(requests, concurrency, number),
            tally.tell, _pause(tally, rate / concurrency), outside=outside,
        )
        for number in range(concurrency)
    ]  # fmt: skip
    started = time.monotonic()
    interrupted = _send(visitors, tally, requests)
    _show(tally, time.monotonic() - started, as_json)
    if tally.gave_up:
        raise WebError(f"{url} has not answered {GIVE_UP} requests in a row; see the server's log")
    return 130 if interrupted else 0


def _send(visitors: list[Visitor], tally: Tally, requests: int) -> bool:
    """Let all visitors run to their end; whether they were interrupted."""
    threads = [threading.Thread(target=_run, args=(each, tally), daemon=True) for each in visitors]
    for thread in threads:
        thread.start()
    shown = 0
    try:
        with click.progressbar(length=requests, label="Sending", file=sys.stderr) as progress:
            while any(thread.is_alive() for thread in threads):
                threads[0].join(LOOK)
                time.sleep(0 if threads[0].is_alive() else LOOK)
                progress.update(tally.sent - shown)
                shown = tally.sent
            progress.update(tally.sent - shown)
    except KeyboardInterrupt:
        tally.stopped.set()
        return True
    return False


class _StoppedError(Exception):
    """The others have given up, or Ctrl-C was pressed."""


def _run(visitor: Visitor, tally: Tally) -> None:
    try:
        visitor.run()
    except _StoppedError:
        return


def _pause(tally: Tally, rate: float) -> Callable[[], None]:
    """Waits before each request of a visitor, so that it keeps its rate."""
    due = time.monotonic()

    def pause() -> None:
        nonlocal due
        if rate:
            tally.stopped.wait(max(due - time.monotonic(), 0))
            due += 1 / rate
        if tally.stopped.is_set():
            raise _StoppedError

    return pause


def _share(requests: int, visitors: int, number: int) -> int:
    return requests // visitors + (number < requests % visitors)


def _show(tally: Tally, seconds: float, as_json: bool) -> None:
    rows = tally.rows()
    if as_json:
        say_json({"requests": tally.sent, "seconds": seconds, "actions": rows})
        return
    table: list[tuple[str, ...]] = [("action", "requests", "answers", "p50 ms", "p95 ms")]
    for row in rows:
        answers = " ".join(f"{code}:{number}" for code, number in row["statuses"].items())
        times = (f"{row[name] * 1000:.1f}" for name in ("p50_seconds", "p95_seconds"))
        table.append((row["action"], str(row["requests"]), answers, *times))
    say_table(table)
    say(
        f"{tally.sent} requests in {seconds:.1f} s, {tally.sent / max(seconds, 1e-9):.0f} a second."
    )


def _quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]
