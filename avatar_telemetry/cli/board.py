"""The display of ``top``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from avatar_telemetry.cli.web import WebError

if TYPE_CHECKING:
    from avatar_telemetry.cli.top import Watched

MAX_ROUTES = 12
WIDTH_WITHOUT_TERMINAL = 110
MAX_ERROR_RATIO = 0.01
"""The ratio of requests with a 5xx status above which it is shown in red."""
NUMBERS = (
    ("{requests:.1f} req/s", "errors {errors:.1%}", "p50 {p50}", "p95 {p95}", "p99 {p99}"),
    ("{avatars:.1f} avatars/s", "cache {cache}", "made {made:.1f}/s", "outside {outside:.1f}/s",
     "uploads {uploads:.1f}/s"),
    ("{in_progress:.0f} in progress", "{busy:.0f} busy, {idle:.0f} idle", "backlog {backlog:.0f}",
     "logins {attempts:.1f}/s", "cpu {cpu:.2f}"),
    ("spans {spans}",),
)  # fmt: skip
SINCE_START = "since the start of the server"


def make_console() -> Console:
    """Return a console for standard output; rich observes NO_COLOR and TERM."""
    console = Console(highlight=False)
    return (
        console if console.is_terminal else Console(highlight=False, width=WIDTH_WITHOUT_TERMINAL)
    )


def watch(console: Console, url: str, watched: Watched, interval: float) -> None:
    """Show the server until Ctrl-C, with a request per interval in seconds.

    Raises:
        WebError: the first request failed. Later failures are shown.
    """
    display = draw(url, watched.first(), SINCE_START)
    with Live(display, console=console, auto_refresh=False, screen=console.is_terminal) as live:
        try:
            while True:
                live.refresh()
                time.sleep(interval)
                try:
                    state = watched.next()
                    live.update(draw(url, state, f"in the last {state['seconds']:.1f} s"))
                except WebError as error:
                    live.update(Group(Text(str(error), style="red"), display))
        except KeyboardInterrupt:
            return


def draw(url: str, state: dict[str, Any], interval: str) -> Group:
    """Return the display of a state of :func:`~avatar_telemetry.cli.rates.derive_state`."""
    p50, p95, p99 = map(_milliseconds, state["percentiles"])
    cache = "-" if state["cache"] is None else f"{state['cache']:.0%}"
    spans = " ".join(f"{name} {rate:.1f}/s" for name, rate in state["spans"].items() if rate)
    values = {**state, "p50": p50, "p95": p95, "p99": p99, "cache": cache, "spans": spans or "-"}
    numbers = Table.grid(padding=(0, 3))
    for row in NUMBERS:
        numbers.add_row(*(Text(cell.format(**values), _style(cell, state)) for cell in row))
    routes = _table("slowest routes", "req/s", "errors", "p50", "p95", "p99")
    for route in state["routes"][:MAX_ROUTES]:
        errors = Text(f"{route['errors']:.1%}", _style("errors", route))
        times = map(_milliseconds, route["percentiles"])
        routes.add_row(Text(route["path"]), f"{route['rate']:.1f}", errors, *times)
    workers = _table("worker", "memory", "files", "threads", "up")
    for worker in state["workers"]:
        memory, age = worker["resident"] / (1 << 20), time.time() - worker["started"]
        counts = (f"{worker[name]:.0f}" for name in ("files", "threads"))
        workers.add_row(worker["name"], f"{memory:.0f} MiB", *counts, _duration(age))
    return Group(Text.assemble((url, "bold"), f"  {interval}"), numbers, routes, workers)


def _table(first: str, *others: str) -> Table:
    table = Table(first, box=None, pad_edge=False, padding=(0, 2), header_style="bold")
    for name in others:
        table.add_column(name, justify="right")
    return table


def _style(cell: str, values: dict[str, Any]) -> str:
    return "red" if cell.startswith("errors") and values["errors"] > MAX_ERROR_RATIO else ""


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f} ms"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
