"""The layout of ``top``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from avatar_telemetry.cli.rates import Look, Percentiles
from avatar_telemetry.cli.web import WebError

if TYPE_CHECKING:
    from avatar_telemetry.cli.top import Watched

MAX_ROUTES = 12
WIDTH_WITHOUT_TERMINAL = 110
BAD_ERRORS = 0.01
"""Share of answers of 5xx that is shown in red."""


def make_console(coloured: bool) -> Console:
    """A console for the standard output."""
    console = Console(no_color=not coloured, highlight=False)
    return (
        console
        if console.is_terminal
        else Console(no_color=True, highlight=False, width=WIDTH_WITHOUT_TERMINAL)
    )


def watch(console: Console, url: str, watched: Watched, interval: float) -> None:
    """Show the server until Ctrl-C.

    Args:
        console: to draw on.
        url: for the title.
        watched: the server.
        interval: seconds between two looks.

    Raises:
        WebError: the first look failed. Later ones are shown as they fail.
    """
    picture = draw(url, watched.first(), "since the start of the server")
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


def draw(url: str, seen: Look, when: str) -> Group:
    """The whole picture.

    Args:
        url: of the server.
        seen: what is shown.
        when: of what time it is.
    """
    return Group(_title(url, when), _numbers(seen), _routes(seen), _workers(seen))


def _title(url: str, when: str) -> Text:
    return Text.assemble((url, "bold"), f"  {when}")


def _numbers(seen: Look) -> Table:
    table = Table.grid(padding=(0, 3))
    p50, p95, p99 = map(_milliseconds, seen.percentiles)
    cache = "-" if seen.cache is None else f"{seen.cache:.0%}"
    errors = Text(f"errors {seen.errors:.1%}", style="red" if seen.errors > BAD_ERRORS else "")
    table.add_row(f"{seen.requests:.1f} req/s", errors, f"p50 {p50}", f"p95 {p95}", f"p99 {p99}")
    table.add_row(
        f"{seen.avatars:.1f} avatars/s", f"cache {cache}", f"made {seen.made:.1f}/s",
        f"outside {seen.outside:.1f}/s", f"uploads {seen.uploads:.1f}/s",
    )  # fmt: skip
    spans = " ".join(f"{result} {rate:.1f}/s" for result, rate in seen.spans.items() if rate)
    table.add_row(
        f"{seen.in_progress:.0f} in progress", f"{seen.busy:.0f} busy, {seen.idle:.0f} idle",
        f"backlog {seen.backlog:.0f}", f"log-ins {seen.attempts:.1f}/s", f"cpu {seen.cpu:.2f}",
    )  # fmt: skip
    table.add_row(f"spans {spans or '-'}")
    return table


def _routes(seen: Look) -> Table:
    table = Table("slowest routes", box=None, pad_edge=False, padding=(0, 2), header_style="bold")
    for name in ("req/s", "errors", "p50", "p95", "p99"):
        table.add_column(name, justify="right")
    for route in seen.routes[:MAX_ROUTES]:
        style = "red" if route.errors > BAD_ERRORS else ""
        table.add_row(
            Text(route.path), f"{route.rate:.1f}", Text(f"{route.errors:.1%}", style=style),
            *_cells(route.percentiles),
        )  # fmt: skip
    return table


def _workers(seen: Look) -> Table:
    table = Table("worker", box=None, pad_edge=False, padding=(0, 2), header_style="bold")
    for name in ("memory", "files", "threads", "up"):
        table.add_column(name, justify="right")
    for worker in seen.workers:
        table.add_row(
            worker.name, f"{worker.resident / (1 << 20):.0f} MiB", f"{worker.files:.0f}",
            f"{worker.threads:.0f}", _duration(time.time() - worker.started),
        )  # fmt: skip
    return table


def _cells(percentiles: Percentiles) -> list[str]:
    return [_milliseconds(each) for each in percentiles]


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.1f} ms"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
