"""Draws a dashboard from the answers to its queries, as SVG: Grafana cannot run in the tests."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from tests.support.grafana import COLOURS, Appearance

COLUMN, HEIGHT, NUMBER_HEIGHT, HEADING, GAP = 40, 190, 80, 34, 8
LEGEND = 6
"""Series that are named under a chart."""
ROWS, LETTER = 3, 6
"""Lines of a legend, and the width of a letter in it."""
PALETTE = (
    "#56a64b", "#e0b400", "#3274d9", "#ff780a", "#e02f44", "#a352cc", "#19730e", "#cc9d00",
)  # fmt: skip
"""Grafana's classic palette in its light theme."""
Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """One series over time.

    Args:
        name: as its legend says.
        points: time and value, without gaps' values.
    """

    name: str
    points: Sequence[Point]


@dataclass(frozen=True)
class Chart:
    """One panel.

    Args:
        title: of the panel.
        width: of 24 columns.
        look: its kind, unit and colours.
        lines: what its queries gave; none where its metric is still awaited.
    """

    title: str
    width: int
    look: Appearance
    lines: Sequence[Line]


def legend(template: str, labels: Mapping[str, str]) -> str:
    """The name of a series, as Grafana fills in a legend."""
    return re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), template)


def draw(title: str, rows: Iterable[tuple[str, Sequence[Chart]]]) -> str:
    """A whole dashboard.

    Args:
        title: of the dashboard.
        rows: headings and the charts under them.
    """
    parts: list[str] = [_text(GAP, 26, title, size=18, weight="bold")]
    top = 40
    for heading, charts in rows:
        parts.append(_text(GAP, top + 20, heading, size=13, weight="bold"))
        top += HEADING
        left = height = 0
        for chart in charts:
            if left + chart.width > 24:
                left, top = 0, top + height + GAP
            height = NUMBER_HEIGHT if chart.look.kind == "stat" else HEIGHT
            parts.append(_chart(chart, left * COLUMN, top, height))
            left += chart.width
        top += height + GAP
    width = 24 * COLUMN + GAP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top}" width="{width}" '
        f'font-family="sans-serif"><rect width="100%" height="100%" fill="#f4f5f5"/>'
    )
    return "\n".join([head, *parts, "</svg>\n"])


def shown(value: float, unit: str) -> str:
    """A value as its unit wants it."""
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    if unit == "s" and abs(value) < 1:
        return f"{value * 1000:.3g} ms"
    if unit in ("bytes", "Bps") and abs(value) >= 1024:
        power = min(int(math.log(abs(value), 1024)), 3)
        word = ("", "KiB", "MiB", "GiB")[power] + ("/s" if unit == "Bps" else "")
        return f"{value / 1024**power:.3g} {word}"
    word = {"s": " s", "reqps": " req/s", "ops": "/s", "bytes": " B", "Bps": " B/s"}.get(unit, "")
    return f"{value:,.0f}{word}" if abs(value) >= 1000 else f"{value:.3g}{word}"


def _chart(chart: Chart, left: int, top: int, height: int) -> str:
    width = chart.width * COLUMN - GAP
    left += GAP
    parts = [
        f'<rect x="{left}" y="{top}" width="{width}" height="{height}" rx="3" fill="#fff" '
        'stroke="#d8d9da"/>',
        _text(left + 8, top + 18, chart.title, weight="bold"),
    ]
    lines = [line for line in chart.lines if line.points]
    lines.sort(key=lambda line: -max(value for _, value in line.points))  # the legend has no room
    if not lines:
        parts.append(_text(left + 8, top + height // 2, "comes with tracing", colour="#888"))
    elif chart.look.kind == "stat":
        parts += _number(lines[0], chart.look, left, top, width, height)
    elif chart.look.kind == "bargauge":
        parts += _bars(lines, chart.look, left + 8, top + 30, width - 16)
    else:
        drawn = [line for line in lines if len(line.points) > 1]  # of one point nothing is seen
        parts += _lines(drawn or lines, chart.look, left + 60, top + 28, width - 72, height - 78)
    return "\n".join(parts)


def _number(
    line: Line, look: Appearance, left: int, top: int, width: int, height: int
) -> list[str]:
    value = line.points[-1][1]
    colour = _colour(look, value)
    parts = []
    if look.sparkline and len(line.points) > 1:
        span = line.points[0][0], line.points[-1][0]
        highest = max(value for _, value in line.points) or 1.0
        path = _points(line, highest, span, left, top + 56, width, height - 58)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-opacity="0.35"/>'
        )
    text = shown(value, look.unit)
    size = min(24, (width - 16) * 2 // len(text))  # a digit is about half as wide as high
    return [*parts, _text(left + 8, top + 52, text, size=size, colour=colour)]


def _colour(look: Appearance, value: float) -> str:
    return COLOURS[look.colour(value)] if look.by_thresholds else "#222"


def _points(
    line: Line, highest: float, span: Point, left: int, top: int, width: int, height: int
) -> str:
    first, last = span
    return " ".join(
        f"{left + width * (time - first) / ((last - first) or 1):.1f},"
        f"{top + height * (1 - min(max(value, 0.0) / highest, 1.0)):.1f}"
        for time, value in line.points
    )


def _lines(
    lines: Sequence[Line], look: Appearance, left: int, top: int, width: int, height: int
) -> list[str]:
    times = [time for line in lines for time, _ in line.points]
    highest = max(value for line in lines for _, value in line.points) or 1.0
    highest = look.top or max(highest, look.soft_top or 0.0)
    parts = []
    for share in (0.0, 0.5, 1.0):
        y = top + height * (1 - share)
        parts.append(f'<path d="M{left} {y:.0f}h{width}" stroke="#eee"/>')
        label = shown(highest * share, look.unit)
        parts.append(_text(left - 6, int(y) + 3, label, 9, anchor="end"))
    for step in look.steps[1:] if look.dashed else ():
        if step.start <= highest:
            y = top + height * (1 - step.start / highest)
            colour = COLOURS[step.colour]
            parts.append(
                f'<path d="M{left} {y:.1f}h{width}" stroke="{colour}" stroke-dasharray="6 4"/>'
            )
    for line, colour in zip(lines, PALETTE * len(lines), strict=False):
        path = _points(line, highest, (min(times), max(times)), left, top, width, height)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        )
    return parts + _legend(lines, left - 52, top + height + 18, width + 60)


def _legend(lines: Sequence[Line], left: int, top: int, width: int) -> list[str]:
    parts = []
    named = lines if len(lines) <= LEGEND else lines[: LEGEND - 1]
    names = [line.name for line in named]
    if len(named) < len(lines):
        names.append(f"and {len(lines) - len(named)} more")
    long = max(map(len, names)) > width // 2 // LETTER
    columns = 1 if long and len(names) <= ROWS else 2
    room = width // columns
    for index, name in enumerate(names):
        x, y = left + index % columns * room, top + index // columns * 12
        parts.append(f'<rect x="{x}" y="{y - 5}" width="8" height="3" fill="{PALETTE[index]}"/>')
        parts.append(_text(x + 12, y, name[: room // LETTER], 9))
    return parts


def _bars(lines: Sequence[Line], look: Appearance, left: int, top: int, width: int) -> list[str]:
    parts = []
    highest = max(line.points[-1][1] for line in lines) or 1.0
    for index, line in enumerate(sorted(lines, key=lambda line: -line.points[-1][1])[:10]):
        y, value = top + index * 15, line.points[-1][1]
        length = (width - 220) * value / highest
        parts.append(_text(left, y + 9, line.name, 10))
        parts.append(
            f'<rect x="{left + 130}" y="{y}" width="{length:.0f}" height="11" '
            f'fill="{_colour(look, value)}"/>'
        )
        parts.append(_text(left + 136 + int(length), y + 9, shown(value, look.unit), 10))
    return parts


def _text(
    x: int, y: int, text: str, size: int = 11, *,
    weight: str = "normal", colour: str = "#222", anchor: str = "start",
) -> str:  # fmt: skip
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" font-weight="{weight}" fill="{colour}" '
        f'text-anchor="{anchor}">{escape(text)}</text>'
    )
