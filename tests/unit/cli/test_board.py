"""The picture of ``top``, as text."""

from __future__ import annotations

import io
import time
from dataclasses import replace

import pytest
from rich.console import Console

from avatar_telemetry.cli.board import MAX_ROUTES, draw
from avatar_telemetry.cli.rates import Look, RouteLook, WorkerLook

NOTHING = (None, None, None)
EMPTY = Look(
    seconds=2.0, requests=0.0, errors=0.0, percentiles=NOTHING, in_progress=0.0, avatars=0.0,
    made=0.0, cache=None, outside=0.0, uploads=0.0, attempts=0.0, spans={}, cpu=0.0, busy=0.0,
    idle=0.0, backlog=0.0, routes=[], workers=[],
)  # fmt: skip
RED = "\x1b[31m"


def shown(seen: Look) -> str:
    """The picture on a wide terminal of eight colours."""
    console = Console(file=io.StringIO(), width=160, force_terminal=True, color_system="standard",
                      highlight=False)  # fmt: skip
    with console.capture() as captured:
        console.print(draw("http://here", seen, "in the last 2 s"))
    return captured.get()


def test_numbers() -> None:
    """Rates have one digit, shares are percents, times are milliseconds."""
    seen = replace(
        EMPTY, requests=12.34, errors=0.0125, percentiles=(0.0123, 0.5, 2.0), cache=0.756,
        cpu=1.5, busy=3.0, idle=5.0, spans={"exported": 9.0, "dropped": 0.0},
    )  # fmt: skip
    picture = shown(seen)
    for text in ("12.3 req/s", "1.2%", "p50 12.3 ms", "p95 500.0 ms", "p99 2000.0 ms", "cache 76%",
                 "3 busy, 5 idle", "cpu 1.50", "spans exported 9.0/s"):  # fmt: skip
        assert text in picture
    assert "dropped" not in picture


def test_nothing_measured() -> None:
    """What was not measured is a dash."""
    picture = shown(EMPTY)
    assert "p50 -" in picture and "cache -" in picture and "spans -" in picture


@pytest.mark.parametrize(("errors", "red"), [(0.0, False), (0.01, False), (0.011, True)])
def test_errors_are_red(errors: float, red: bool) -> None:
    """More than one in a hundred is shown in red, of the server and of a route."""
    route = RouteLook("/stats/", 1.0, errors, NOTHING)
    assert shown(replace(EMPTY, errors=errors, routes=[route])).count(RED) == (2 if red else 0)


def test_slowest_routes() -> None:
    """Only the first routes are shown, and markup in a path is text."""
    routes = [RouteLook(f"/[red]{number}/", 1.0, 0.0, NOTHING) for number in range(20)]
    picture = shown(replace(EMPTY, routes=routes))
    assert picture.count("/[red]") == MAX_ROUTES
    assert RED not in picture


@pytest.mark.parametrize(
    ("age", "up"),
    [
        (-5.0, "0 min 0 s"),
        (59.5, "0 min 59 s"),
        (61.5, "1 min 1 s"),
        (3600.5, "1 h 0 min"),
        (90_060.5, "25 h 1 min"),
    ],
)
def test_workers(monkeypatch: pytest.MonkeyPatch, age: float, up: str) -> None:
    """A worker has its memory in MiB and the time since its start."""
    monkeypatch.setattr(time, "time", lambda: 1e9)
    worker = WorkerLook("3", 50.0 * (1 << 20), 12.0, 4.0, 1e9 - age)
    (line,) = (
        each for each in shown(replace(EMPTY, workers=[worker])).splitlines() if "MiB" in each
    )
    assert line.split() == ["3", "50", "MiB", "12", "4", *up.split()]
