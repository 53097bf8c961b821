"""The content of ``top``: charts, numbers and tables, for a width in columns.

text_of(summary(state, 80, ASCII) + tables(state, 80, ASCII, View()))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, zip_longest
from typing import Any, NamedTuple

from avatar_telemetry.cli import thresholds
from avatar_telemetry.cli.layout import GAP, LABEL, Glyphs, Line, Span, columns, flow, table
from avatar_telemetry.cli.rates import State
from avatar_telemetry.cli.thresholds import Threshold

NARROW, WIDE = 72, 120
"""Widths below which columns are left out, and from which on the tables are side by side."""
UNITS = ((1e9, "G"), (1e6, "M"), (1e4, "k"))
ORDERS: dict[str, tuple[str, Callable[[State], Any]]] = {
    "p95": ("slowest routes", lambda route: -(route["percentiles"][1] or 0.0)),
    "rate": ("busiest routes", lambda route: -route["rate"]),
    "errors": ("failing routes", lambda route: (-route["errors"], -route["rate"])),
    "name": ("routes by name", lambda route: route["path"]),
}
"""The orders of the routes, with their heading."""


class View(NamedTuple):
    """The selection of the user: the order and the filter of the routes, the order of workers."""

    order: str = "p95"
    contains: str = ""
    by_memory: bool = False


def summary(
    state: State, width: int, glyphs: Glyphs, history: Sequence[State | None] = ()
) -> list[Line]:
    """Return the charts and the numbers.

    Args:
        state: a state of :func:`~avatar_telemetry.cli.rates.derive_state`.
        width: the columns.
        glyphs: the characters of the terminal.
        history: the states of the charts, the oldest first; ``None`` for a failed request.
    """
    lines = [_chart(chart, state, width, glyphs, history) for chart in CHARTS]
    for label, items in _groups(state):
        lines += flow(label, items, width, glyphs)
    return lines


def tables(state: State, width: int, glyphs: Glyphs, view: View) -> list[Line]:
    """Return the tables of the routes and of the workers."""
    workers = table(_workers(state, view), width, glyphs)
    if width < WIDE:
        return [*table(_routes(state, view, width), width, glyphs), [], *workers]
    left = width - 2 * GAP - max(map(columns, workers))
    routes = table(_routes(state, view, left), left, glyphs)
    size, empty = max(map(columns, routes)) + 2 * GAP, Line()
    return [
        [*route, (" " * (size - columns(route)), ""), *worker]
        for route, worker in zip_longest(routes, workers, fillvalue=empty)
    ]


def interval_of(state: State) -> str:
    """Return the interval of the values of a state."""
    if state["since_start"]:
        return "since the start of the server"
    return f"in the last {state['seconds']:.1f} s"


def duration(seconds: float | None) -> str:
    """Return the text of a duration of a request."""
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _rate(value: float) -> str:
    factor, unit = next(((size, unit) for size, unit in UNITS if value >= size), (1, ""))
    return f"{value / factor:.1f}{unit}/s"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _bytes(value: float) -> str:
    return f"{value / (1 << 20):.0f} MiB" if value < 1 << 30 else f"{value / (1 << 30):.1f} GiB"


def _age(seconds: float) -> str:
    minutes, rest = divmod(int(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f"{hours // 24} d {hours % 24} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _busy(in_progress: float | None) -> str:
    if in_progress is None:
        return "-"
    return "idle" if in_progress <= 0 else "busy" if in_progress == 1 else f"busy {in_progress:.0f}"


def _item(text: str, alarm: bool = False) -> Span:
    # The mark is for terminals without colours.
    return (f"{text}!", "alarm") if alarm else (text, "")


class Chart(NamedTuple):
    """A value over time.

    Args:
        label: the name of the value.
        value: the value of a state.
        text: the text of a value.
        threshold: the limit of the value, by the number of requests.
    """

    label: str
    value: Callable[[State], float | None]
    text: Callable[[Any], str]
    threshold: Threshold | None = None

    def alarm(self, state: State) -> bool:
        """Return whether the value of a state is at fault."""
        events = state["requests"] * state["seconds"]
        return self.threshold is not None and self.threshold.crossed(self.value(state), events)


CHARTS = (
    Chart("requests", lambda state: state["requests"], _rate),
    Chart("errors", lambda state: state["errors"], _ratio, thresholds.ERRORS),
    Chart("p95", lambda state: state["percentiles"][1], duration, thresholds.DURATION),
)


def _chart(
    chart: Chart, state: State, width: int, glyphs: Glyphs, history: Sequence[State | None]
) -> Line:
    text, style = _item(chart.text(chart.value(state)), chart.alarm(state))
    line = [(chart.label.ljust(LABEL), "dim"), (text.ljust(11), style or "bold")]
    size = max(width - columns(line) - len("  max 1000.0 ms"), 0)
    points = [(chart.value(each), chart.alarm(each)) if each else (None, False)
              for each in history[max(len(history) - size, 0):]]  # fmt: skip
    highest = max((value for value, _ in points if value is not None), default=None)
    if highest is None:
        return line

    def bar(value: float | None) -> str:
        if value is None:
            return " "
        level = value / highest * len(glyphs.bars) if highest else 0
        return glyphs.bars[min(int(level), len(glyphs.bars) - 1)]

    for alarm, group in groupby(points, lambda point: point[1]):
        line.append(("".join(bar(value) for value, _ in group), "alarm" if alarm else ""))
    return [*line, (f"  max {chart.text(highest)}", "dim")]


def _groups(state: State) -> Iterator[tuple[str, list[Span]]]:
    """Yield the labels of the numbers, and their items."""
    seconds, (p50, _, p99), made = state["seconds"], state["percentiles"], state["generation"][1]
    yield "latency", [_item(f"p50 {duration(p50)}"), _item(f"p99 {duration(p99)}")]
    yield (
        "server",
        [
            _item(f"{state['busy']:.0f} busy, {state['idle']:.0f} idle"),
            _item(f"{state['in_progress']:.0f} in progress"),
            _item(f"backlog {state['backlog']:.0f}", thresholds.BACKLOG.crossed(state["backlog"])),
            _item(f"cpu {state['cpu']:.2f}"),
        ],
    )
    yield "avatars", [
        _item(_rate(state["avatars"])),
        _item(f"cache {_ratio(state['cache'])}",
              thresholds.CACHE.crossed(state["cache"], state["lookups"] * seconds)),
        _item(f"made {_rate(state['made'])} p95 {duration(made)}",
              thresholds.GENERATION.crossed(made, state["made"] * seconds)),
    ]  # fmt: skip
    uploads = thresholds.UPLOADS.crossed(state["uploads_success"], state["uploads"] * seconds)
    yield "accounts", [
        _item(f"uploads {_rate(state['uploads'])}", uploads),
        _item(f"logins {_rate(state['attempts'])}"),
        *(_item(f"{each['name']} {_ratio(each['success'])} good", True)
          for each in state["operations"]
          if thresholds.AUTHENTICATION.crossed(each["success"], each["rate"] * seconds)),
    ]  # fmt: skip
    yield "outside", [
        _item(f"{each['name']} {_rate(each['rate'])} p95 {duration(each['p95'])}"
              f" {_ratio(each['success'])} good",
              thresholds.OUTSIDE.crossed(each["success"], each["rate"] * seconds))
        for each in state["services"]
    ] or [_item("no calls")]  # fmt: skip
    yield "telemetry", list(_telemetry(state))


def _telemetry(state: State) -> Iterator[Span]:
    up = {None: "no export", True: "exporter up", False: "exporter down"}[state["exporter"]]
    yield _item(up, state["exporter"] is False)
    for name, results, threshold in (
        ("spans", state["spans"], thresholds.SPANS_LOST),
        ("logs", state["log_records"], thresholds.LOGS_LOST),
    ):
        total = sum(results.values())
        exported, dropped, failed = (
            results.get(each, 0.0) for each in ("exported", "dropped", "failed")
        )
        alarm = threshold.crossed((dropped + failed) / total if total else None)
        if results:
            yield _item(f"{name} {_rate(exported)}")
            yield _item(f"{_rate(dropped)} dropped by the ring", alarm and dropped > 0)
        if failed:
            yield _item(f"{_rate(failed)} failed", alarm)
    failed = state["pushes"].get("failed", 0.0)
    if failed:
        ratio = failed / sum(state["pushes"].values())
        yield _item(f"pushes {_ratio(ratio)} failed", thresholds.PUSHES_FAILED.crossed(ratio))
    for key in ("internal_errors", "series_refused"):
        if state[key]:
            yield _item(f"{key.replace('_', ' ')} {state[key]:.0f}", state[f"new_{key}"] > 0)
    free = state["free_bytes"]
    if free is not None:
        yield _item(f"{_bytes(free)} free", thresholds.FREE_BYTES.crossed(free))


def _routes(state: State, view: View, width: int) -> list[Line]:
    title, key = ORDERS[view.order]
    found = [each for each in state["routes"] if view.contains.lower() in each["path"].lower()]
    if view.contains:
        title += f" with {view.contains}: {len(found)} of {len(state['routes'])}"
    # The width of most numbers, so that the columns stay where they are.
    numbers = (name.rjust(8) for name in ("rate", "errors", "p50", "p95", "p99"))
    rows = [_head(title, *numbers)]
    for route in sorted(found, key=key):
        errors, events = route["errors"], route["rate"] * state["seconds"]
        p50, p95, p99 = route["percentiles"]
        rows.append([
            (route["path"], ""),
            _item(_rate(route["rate"])),
            _item(_ratio(errors), thresholds.ROUTE_ERRORS.crossed(errors, events)),
            _item(duration(p50)),
            _item(duration(p95), thresholds.DURATION.crossed(p95, events)),
            _item(duration(p99)),
        ])  # fmt: skip
    return [[*row[:3], row[4]] for row in rows] if width < NARROW else rows


def _workers(state: State, view: View) -> list[Line]:
    workers = state["workers"]
    if view.by_memory:
        workers = sorted(workers, key=lambda worker: -worker["resident"])
    return [
        _head("worker", "state", "memory", "files", "threads", "up"),
        *(
            [(worker["name"], ""), _item(_busy(worker["in_progress"])),
             _item(_bytes(worker["resident"])), _item(f"{worker['files']:.0f}"),
             _item(f"{worker['threads']:.0f}"), _item(_age(state["time"] - worker["started"]))]
            for worker in workers
        ),
    ]  # fmt: skip


def _head(*titles: str) -> Line:
    return [(title, "dim") for title in titles]
