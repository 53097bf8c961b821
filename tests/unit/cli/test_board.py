"""The content of ``top``, as lines of text with styles."""

from __future__ import annotations

import pytest

from avatar_telemetry.cli.board import View, duration, summary, tables
from avatar_telemetry.cli.layout import ASCII, UNICODE, Glyphs, Line, text_of
from tests.support.top_state import page, state_of

NOTHING = state_of("avatar_telemetry_build_info 1\n")
EVERYTHING = state_of(page())


def alarms(lines: list[Line]) -> list[str]:
    return [text for line in lines for text, style in line if style == "alarm"]


def words(state: dict[str, object], width: int = 200) -> str:
    return text_of(summary(state, width, UNICODE))


def routes(count: int) -> list[dict[str, object]]:
    return [
        {"path": f"/{number}/", "rate": float(number), "errors": (number % 2) / 2,
         "percentiles": (None, number / 10, None)}
        for number in range(count)
    ]  # fmt: skip


def names(view: View, **changes: object) -> list[str]:
    """The first column of the routes."""
    lines = text_of(tables({**EVERYTHING, **changes}, 90, UNICODE, view)).split("\n\n")[0]
    return [line.split("  ")[0] for line in lines.splitlines()]


def test_numbers() -> None:
    """Each number has its unit, and a label."""
    text = words(EVERYTHING)
    for part in ("requests   100.0/s", "p50 5.6 ms", "2 busy, 1 idle", "3 in progress",
                 "backlog 12", "cpu 1.30", "90.0/s", "cache 88.9%", "made 10.0/s p95 95.0 ms",
                 "uploads 1.0/s", "logins 1.0/s", "gravatar 10.0/s p95 - 99.0% good",
                 "exporter up", "spans 97.0/s", "3.0/s dropped by the ring",
                 "1.9 GiB free"):  # fmt: skip
        assert part in text
    assert "failed" not in text


def test_nothing_measured() -> None:
    """A value without events is a dash or zero, and nothing is at fault."""
    text = words(NOTHING)
    for part in ("requests   0.0/s", "errors     0.0%", "p95        -", "cache -", "no calls",
                 "no export"):  # fmt: skip
        assert part in text
    assert alarms(summary(NOTHING, 80, UNICODE) + tables(NOTHING, 80, UNICODE, View())) == []


def test_alarms() -> None:
    """Values beyond the limit of an alert are marked, also without colours."""
    assert alarms(summary(EVERYTHING, 80, UNICODE)) == [
        "backlog 12!", "login 20.0% good!", "bluesky 1.0/s p95 - 0.0% good!",
        "3.0/s dropped by the ring!",
    ]  # fmt: skip
    assert alarms(tables(EVERYTHING, 80, UNICODE, View())) == ["50.0%!", "2.39 s!"]


@pytest.mark.parametrize(
    ("changes", "marked"),
    [
        ({"errors": 0.06}, ["6.0%!      "]),
        ({"errors": 0.06, "seconds": 0.06}, []),
        ({"percentiles": (0.1, 1.1, 2.0)}, ["1.10 s!    "]),
        ({"exporter": False}, ["exporter down!"]),
        ({"pushes": {"exported": 1.0, "failed": 2.0}}, ["pushes 66.7% failed!"]),
        ({"pushes": {"exported": 2.0, "failed": 1.0}}, []),
        ({"log_records": {"exported": 1.0, "failed": 1.0}}, ["1.0/s failed!"]),
        ({"internal_errors": 3.0, "new_internal_errors": 1.0}, ["internal errors 3!"]),
        ({"series_refused": 3.0, "new_series_refused": 0.0}, []),
        ({"free_bytes": 1000.0}, ["0 MiB free!"]),
    ],
)
def test_faults(changes: dict[str, object], marked: list[str]) -> None:
    """A fault of the server or of the telemetry is marked as soon as it is on the page."""
    state = {**NOTHING, "requests": 100.0, **changes}
    assert [each.ljust(len(marked[0])) for each in alarms(summary(state, 80, UNICODE))] == marked


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("glyphs", [UNICODE, ASCII], ids=["unicode", "ascii"])
def test_no_line_is_longer_than_the_terminal(width: int, glyphs: Glyphs) -> None:
    """Whatever the values are, a line ends within the width."""
    huge = {**EVERYTHING, "requests": 123456789.0, "percentiles": (99.99, 99.99, 99.99)}
    history = [EVERYTHING, None, huge] * 100
    lines = summary(huge, width, glyphs, history) + tables(huge, width, glyphs, View())
    assert max(map(len, text_of(lines).splitlines())) <= width
    assert "123.5M/s" in text_of(lines)
    assert glyphs is UNICODE or text_of(lines).isascii()


@pytest.mark.parametrize("width", [22, 36, 37, 38])
def test_narrow_charts(width: int) -> None:
    """A terminal without columns for a chart has the values alone."""
    lines = text_of(summary(EVERYTHING, width, UNICODE, [EVERYTHING] * 100)[:3]).splitlines()
    assert max(map(len, lines)) <= width
    assert ("max" in lines[0]) == (width == 38)


def test_chart() -> None:
    """The bars are relative to the highest value; a failed request is a gap."""
    states = [{**EVERYTHING, "requests": value} for value in (0.0, 20.0, 80.0)]
    history = [states[0], None, *states[1:]]
    assert text_of(summary(states[2], 80, UNICODE, history)[:1]) == (
        "requests   80.0/s     ▁ ▃█  max 80.0/s"
    )
    assert text_of(summary(states[2], 80, ASCII, history)[:1]) == (
        "requests   80.0/s     _ -#  max 80.0/s"
    )


def test_bars_beyond_the_limit_are_marked() -> None:
    """Each bar of a chart has the colour of its own value."""
    states = [{**EVERYTHING, "errors": value} for value in (0.0, 0.1, 0.1, 0.0)]
    assert summary(states[0], 80, UNICODE, states)[1][2:] == [
        ("▁", ""), ("██", "alarm"), ("▁", ""), ("  max 10.0%", "dim"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("order", "title", "first"),
    [("p95", "slowest routes", "/9/"), ("rate", "busiest routes", "/9/"),
     ("errors", "failing routes", "/9/"), ("name", "routes by name", "/0/")],
)  # fmt: skip
def test_order_of_routes(order: str, title: str, first: str) -> None:
    """The heading names the order."""
    assert names(View(order), routes=routes(10))[:2] == [title, first]


def test_filter_of_routes() -> None:
    """Only the routes that contain the text are shown, with their number."""
    view = View(contains="AVA")
    assert names(view) == ["slowest routes with AVA: 1 of 4", "/avatar/{digest}"]


def test_order_of_workers() -> None:
    """The workers are in the order of their names, or the largest first."""

    def order(by_memory: bool) -> list[str]:
        rows = text_of(tables(EVERYTHING, 80, UNICODE, View(by_memory=by_memory)))
        return [line.split()[0] for line in rows.split("\n\n")[1].splitlines()[1:]]

    assert order(False) == ["0", "1", "2", "master"]
    assert order(True) == ["1", "2", "0", "master"]


@pytest.mark.parametrize(
    ("age", "up"),
    [(-5.0, "0 min 0 s"), (59.5, "0 min 59 s"), (61.5, "1 min 1 s"), (3600.5, "1 h 0 min"),
     (90_060.5, "25 h 1 min"), (200_000.0, "2 d 7 h")],
)  # fmt: skip
def test_workers(age: float, up: str) -> None:
    """A worker has its state, its memory in MiB and the time since its start."""
    worker = {"name": "3", "resident": 50.0 * (1 << 20), "files": 12.0, "threads": 4.0,
              "in_progress": 2.0, "started": 1e9 - age}  # fmt: skip
    lines = tables({**NOTHING, "time": 1e9, "workers": [worker]}, 80, UNICODE, View())
    assert text_of(lines[-1:]).split() == ["3", "busy", "2", "50", "MiB", "12", "4", *up.split()]


def test_wide_characters_keep_the_columns() -> None:
    """A character of two columns does not move the cells after it."""
    state = {**NOTHING, "routes": [{**routes(2)[1], "path": "/アバ/"}, routes(2)[1]]}
    wide, narrow = text_of(tables(state, 80, UNICODE, View())).splitlines()[1:3]
    assert wide.replace("/アバ/", "/1/   ") == narrow


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-"), (0.0, "0.0 ms"), (0.0123, "12.3 ms"), (2.0, "2.00 s")]
)
def test_durations(seconds: float | None, text: str) -> None:
    """A duration is in milliseconds, from a second on in seconds."""
    assert duration(seconds) == text
