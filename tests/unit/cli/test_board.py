"""The picture of ``top``, as text."""

from __future__ import annotations

import io
import time
from typing import Any

import pytest
from rich.console import Console

from avatar_telemetry.cli.board import MAX_ROUTES, draw
from avatar_telemetry.cli.rates import derive_state
from avatar_telemetry.cli.samples import Samples

NOTHING = (None, None, None)
EMPTY: dict[str, Any] = {
    **derive_state(Samples({}), Samples({}), 2.0), "percentiles": NOTHING,
}  # fmt: skip
RED = "\x1b[31m"


def shown(seen: dict[str, Any]) -> str:
    """The picture on a wide terminal of eight colours."""
    console = Console(file=io.StringIO(), width=160, force_terminal=True, color_system="standard",
                      highlight=False)  # fmt: skip
    with console.capture() as captured:
        console.print(draw("http://here", seen, "in the last 2 s"))
    return captured.get()


def test_numbers() -> None:
    """Rates have one digit, shares are percents, times are milliseconds."""
    seen = dict(
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
    route = {"path": "/stats/", "rate": 1.0, "errors": errors, "percentiles": NOTHING}
    assert shown(dict(EMPTY, errors=errors, routes=[route])).count(RED) == (2 if red else 0)


def test_slowest_routes() -> None:
    """Only the first routes are shown, and markup in a path is text."""
    routes = [
        {"path": f"/[red]{number}/", "rate": 1.0, "errors": 0.0, "percentiles": NOTHING}
        for number in range(20)
    ]
    picture = shown(dict(EMPTY, routes=routes))
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
    worker = {
        "name": "3",
        "resident": 50.0 * (1 << 20),
        "files": 12.0,
        "threads": 4.0,
        "started": 1e9 - age,
    }
    (line,) = (each for each in shown(dict(EMPTY, workers=[worker])).splitlines() if "MiB" in each)
    assert line.split() == ["3", "50", "MiB", "12", "4", *up.split()]
