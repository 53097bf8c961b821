"""The display of ``top``. Imports rich, which is an extra."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from avatar_telemetry.cli.rates import Look
from avatar_telemetry.cli.web import WebError

if TYPE_CHECKING:
    from avatar_telemetry.cli.top import Watched

MAX_ROUTES = 12
WIDTH_WITHOUT_TERMINAL = 110
MAX_ERRORS = 0.01
"""Ratio of requests with a 5xx status above which it is red."""
SINCE_START = "since the start of the server"


def make_console() -> Console:
    """Return a console for the standard output; rich observes NO_COLOR and TERM."""
    console = Console(highlight=False)
    return (
        console if console.is_terminal else Console(highlight=False, width=WIDTH_WITHOUT_TERMINAL)
    )


def watch(console: Console, url: str, watched: Watched, interval: float) -> None:
    """Show the server until Ctrl-C.

    Args:
        console: the terminal.
        url: for the title.
        watched: the server.
        interval: seconds between two requests.

    Raises:
        WebError: the first request failed. Later failures are shown.
    """
    picture = draw(url, watched.first(), SINCE_START)
    with Live(picture, console=console, auto_refresh=False, screen=console.is_terminal) as live:
        try:
            while True:
                live.refresh()
                time.sleep(interval)
                try:
                    seen = watched.next()
                    live.update(draw(url, seen, f"in the last {seen.seconds:.1f} s"))
                except WebError as error:
                    live.update(Group(Text(str(error), style="red"), picture))
        except KeyboardInterrupt:
            return


def draw(url: str, seen: Look, interval: str) -> Group:
    """Return the whole display.

    Args:
        url: of the server.
        seen: the values.
        interval: their interval, in words.
    """
    title = Text.assemble((url, "bold"), f"  {interval}")
    return Group(title, _numbers(seen), _routes(seen), _workers(seen))


def _numbers(seen: Look) -> Table:
    p50, p95, p99 = map(_milliseconds, seen.percentiles)
    cache = "-" if seen.cache is None else f"{seen.cache:.0%}"
    spans = " ".join(f"{result} {rate:.1f}/s" for result, rate in seen.spans.items() if rate)
    table = Table.grid(padding=(0, 3))
    for row in (
        (f"{seen.requests:.1f} req/s", Text.assemble("errors ", _ratio(seen.errors)), f"p50 {p50}",
         f"p95 {p95}", f"p99 {p99}"),
        (f"{seen.avatars:.1f} avatars/s", f"cache {cache}", f"made {seen.made:.1f}/s",
         f"outside {seen.outside:.1f}/s", f"uploads {seen.uploads:.1f}/s"),
        (f"{seen.in_progress:.0f} in progress", f"{seen.busy:.0f} busy, {seen.idle:.0f} idle",
         f"backlog {seen.backlog:.0f}", f"logins {seen.attempts:.1f}/s", f"cpu {seen.cpu:.2f}"),
        (f"spans {spans or '-'}",),
    ):  # fmt: skip
        table.add_row(*row)
    return table


def _routes(seen: Look) -> Table:
    table = _table("slowest routes", "req/s", "errors", "p50", "p95", "p99")
    for route in seen.routes[:MAX_ROUTES]:
        table.add_row(Text(route.path), f"{route.rate:.1f}", _ratio(route.errors),
                      *map(_milliseconds, route.percentiles))  # fmt: skip
    return table


def _workers(seen: Look) -> Table:
    table = _table("worker", "memory", "files", "threads", "up")
    for worker in seen.workers:
        table.add_row(
            worker.name, f"{worker.resident / (1 << 20):.0f} MiB", f"{worker.files:.0f}",
            f"{worker.threads:.0f}", _duration(time.time() - worker.started),
        )  # fmt: skip
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(first, box=None, pad_edge=False, padding=(0, 2), header_style="bold")
    for name in others:
        table.add_column(name, justify="right")
    return table


def _ratio(errors: float) -> Text:
    return Text(f"{errors:.1%}", style="red" if errors > MAX_ERRORS else "")


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f} ms"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
