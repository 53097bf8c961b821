"""The display of ``top``, in terminals without a screen, with states instead of a server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from avatar_telemetry.cli.layout import ASCII, UNICODE, Glyphs
from avatar_telemetry.cli.live import PATIENCE, Polled, TopApp
from avatar_telemetry.cli.rates import State
from tests.support.screen import screen_of
from tests.support.top_state import page, state_of

URL = "http://here"
STATE = state_of(page())
SCREENS = Path(__file__).with_name("top")

Scenario = Callable[["Screen"], Awaitable[None]]


class Screen:
    """A display and its keys.

    Args:
        app: the display.
        pilot: of the display.
        clock: the seconds of its clock, in a list of one.
    """

    def __init__(self, app: TopApp, pilot: Pilot[None], clock: list[float]) -> None:
        self.app, self.pilot, self.clock = app, pilot, clock

    async def receives(self, *states: State) -> str:
        """The screen after some responses."""
        for state in states:
            self.app.post_message(Polled(state))
        await self.pilot.pause()
        return screen_of(self.app)

    async def press(self, *keys: str) -> str:
        """The screen after some keys."""
        await self.pilot.press(*keys)
        await self.pilot.pause()
        return screen_of(self.app)


def show(
    scenario: Scenario, columns: int = 80, rows: int = 32, glyphs: Glyphs = UNICODE,
) -> TopApp:  # fmt: skip
    """Run a display with a scenario, and return it when it has ended."""
    clock = [100.0]
    app = TopApp(URL, iter([STATE]), 2.0, glyphs, lambda: clock[0])

    async def run() -> None:
        async with app.run_test(size=(columns, rows)) as pilot:
            await scenario(Screen(app, pilot, clock))

    asyncio.run(run())
    return app


@pytest.mark.parametrize(
    ("columns", "rows"),
    [(60, 20), (80, 32), pytest.param(120, 30, marks=pytest.mark.slow),
     pytest.param(200, 30, marks=pytest.mark.slow)],
)  # fmt: skip
def test_widths(columns: int, rows: int) -> None:
    """The screen of each width is that of its file; ``WRITE_SCREENS=1`` writes the files."""

    async def scenario(screen: Screen) -> None:
        states = [{**STATE, "requests": 20.0 * place, "errors": place / 100} for place in range(8)]
        text = await screen.receives(*states, {**STATE, "time": 1.0, "error": "away"}, STATE)
        path = SCREENS / f"{columns}.txt"
        if os.environ.get("WRITE_SCREENS"):
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8")

    show(scenario, columns, rows)


def test_keys_that_sort() -> None:
    """The heading names the order of the routes; the workers are by name or memory."""

    async def scenario(screen: Screen) -> None:
        assert "slowest routes" in await screen.press()
        assert "routes by name" in await screen.press("n")
        assert "busiest routes" in await screen.press("r")
        assert "failing routes" in await screen.press("e")
        workers = (await screen.press("m")).split("worker  ")[1]
        assert workers.index("1  ") < workers.index("0  ")

    show(scenario)


def test_help_and_filter() -> None:
    """Keys that sort are letters of a filter; enter keeps it, and escape ends it."""

    async def scenario(screen: Screen) -> None:
        help_text = await screen.press("question_mark")
        assert "sort the workers by memory" in help_text and "slowest" not in help_text
        assert "slowest routes" in await screen.press("question_mark")
        assert "with q: 0 of 4" in await screen.press("slash", "q")
        filtered = await screen.press("backspace", "v", "enter")
        assert "with v: 1 of 4" in filtered and "/stats/" not in filtered
        assert "/stats/" in await screen.press("escape")

    show(scenario)


@pytest.mark.parametrize("keys", [["q"], ["ctrl+c"], ["slash", "a", "ctrl+c"]], ids="-".join)
def test_keys_that_quit(keys: list[str]) -> None:
    """The display ends with status 0, also while a filter is typed."""

    async def scenario(screen: Screen) -> None:
        await screen.pilot.press(*keys)

    assert show(scenario).return_code == 0


def test_a_server_that_goes_away_and_comes_back() -> None:
    """The values stay, with one line about the fault, until the next response."""

    async def scenario(screen: Screen) -> None:
        fault = "http://here refuses the connection; check that the server runs"
        away = await screen.receives({"time": 0.0, "error": fault})
        assert f": {fault}"[:50] in away.splitlines()[0]
        assert away.startswith("values of ") and "/avatar/{digest}" in away
        assert (await screen.receives(STATE)).startswith("http://here  in the last 10.0 s\n")
        screen.clock[0] += 2.0 + PATIENCE + 1
        late = await screen.press("m")
        assert "http://here: no response for 6 s" in late.splitlines()[0]
        back = await screen.receives({**STATE, "since_start": True})
        assert back.startswith("http://here  since the start of the server\n")

    show(scenario)


def test_a_terminal_without_unicode() -> None:
    """Only ASCII is written, also with the help and the filter."""

    async def scenario(screen: Screen) -> None:
        assert (await screen.receives(STATE, STATE)).isascii()
        assert (await screen.press("slash", "a")).isascii()
        assert (await screen.press("enter", "question_mark")).isascii()

    show(scenario, 60, 20, ASCII)


def test_a_resized_terminal() -> None:
    """The tables are side by side as soon as there are columns for both."""

    async def scenario(screen: Screen) -> None:
        assert "worker" not in (await screen.press()).split("slowest routes")[1].splitlines()[0]
        await screen.pilot.resize_terminal(120, 30)
        assert "worker" in (await screen.press()).split("slowest routes")[1].splitlines()[0]

    show(scenario)
