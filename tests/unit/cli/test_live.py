"""The display of ``top``, in terminals without a screen, with states instead of a server."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from avatar_telemetry.cli.layout import ASCII, UNICODE, Glyphs
from avatar_telemetry.cli.live import PATIENCE, Polled, TopApp
from avatar_telemetry.cli.rates import State
from avatar_telemetry.cli.web import WebError
from tests.support.screen import screen_of
from tests.support.top_state import page, state_of
from tests.support.waiting import DEADLINE

URL = "http://here"
STATE = state_of(page())
SCREENS = Path(__file__).with_name("top")


class Display:
    """A display and its keys.

    Args:
        app: the display.
        pilot: of the display.
        clock: the seconds of its clock, in a list of one.
    """

    def __init__(self, app: TopApp, pilot: Pilot[str], clock: list[float]) -> None:
        self.app, self.pilot, self.clock = app, pilot, clock

    def receive(self, *states: State) -> None:
        """Pass states as responses."""
        for state in states or [STATE]:
            self.app.post_message(Polled(state))

    async def shows(self, *texts: str, without: str = "\0") -> str:
        """The screen as soon as it has all of these texts, and not another one."""

        def found() -> str:
            screen = screen_of(self.app)
            complete = all(text in screen for text in texts) and without not in screen
            return screen if complete else ""

        return await self.until(found)

    async def until(self, condition: Callable[[], Any]) -> Any:
        """The first true value of a condition: a key has an effect some time after it is sent."""
        end = time.monotonic() + DEADLINE
        while not (value := condition()):
            assert time.monotonic() < end, screen_of(self.app)
            await asyncio.sleep(0.005)
        return value

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)


def show(
    scenario: Callable[[Display], Awaitable[object]], columns: int = 80, rows: int = 32,
    glyphs: Glyphs = UNICODE, states: Iterable[State] = (),
) -> TopApp:  # fmt: skip
    """Run a display, whose own thread has some states, with a scenario; return it at its end."""
    clock = [100.0]
    app = TopApp(URL, iter(states), 2.0, glyphs, lambda: clock[0])

    async def run() -> None:
        async with app.run_test(size=(columns, rows)) as pilot:
            await scenario(Display(app, pilot, clock))

    asyncio.run(run())
    return app


@pytest.mark.parametrize(
    ("columns", "rows"),
    [(60, 20), (80, 32), pytest.param(120, 30, marks=pytest.mark.slow),
     pytest.param(200, 30, marks=pytest.mark.slow)],
)  # fmt: skip
def test_widths(columns: int, rows: int) -> None:
    """The screen of each width is that of its file; ``WRITE_SCREENS=1`` writes the files."""
    path = SCREENS / f"{columns}.txt"

    async def scenario(display: Display) -> None:
        states = [{**STATE, "requests": 20.0 * place, "errors": place / 100} for place in range(8)]
        display.receive(*states, {"time": 1.0, "error": "away"}, STATE)
        if os.environ.get("WRITE_SCREENS"):
            await display.pilot.pause(1)
            path.write_text(screen_of(display.app), encoding="utf-8")
        await display.shows(path.read_text(encoding="utf-8"))

    show(scenario, columns, rows)


def test_keys_that_sort() -> None:
    """The heading names the order of the routes; the workers are by name or memory."""

    async def scenario(display: Display) -> None:
        display.receive()
        await display.shows("slowest routes", "\n0       busy 2   70 MiB")
        for key, heading in {"n": "routes by name", "r": "busiest", "e": "failing"}.items():
            await display.press(key)
            await display.shows(heading)
        await display.press("m")
        await display.shows("up\n1         busy  300 MiB")

    show(scenario)


def test_filter() -> None:
    """Keys that sort are letters of a filter; enter keeps it, and escape ends it."""

    async def scenario(display: Display) -> None:
        display.receive()
        await display.press("slash", "v")
        await display.shows("with v: 1 of 4", "/avatar/", without="/stats/")
        await display.press("enter")
        await display.until(lambda: not isinstance(display.app.focused, Input))
        await display.press("n")
        await display.shows("routes by name with v")
        await display.press("escape")
        await display.shows("/stats/", "/avatar/")

    show(scenario)


def test_help() -> None:
    """The help takes the place of the tables, until the next key."""

    async def scenario(display: Display) -> None:
        display.receive()
        await display.press("question_mark")
        await display.shows("sort the workers by memory", without="slowest routes")
        await display.press("question_mark")
        await display.shows("slowest routes")

    show(scenario)


@pytest.mark.parametrize("keys", [["q"], ["ctrl+c"], ["slash", "a", "ctrl+c"]], ids="-".join)
def test_keys_that_quit(keys: list[str]) -> None:
    """The display ends with status 0, also while a filter is typed."""

    async def scenario(display: Display) -> None:
        await display.press(*keys)
        await display.until(lambda: display.app.return_code is not None)

    assert show(scenario).return_code == 0


def test_a_server_that_goes_away_and_comes_back() -> None:
    """The values stay, with one line about the fault, until the next response."""

    async def scenario(display: Display) -> None:
        display.receive(STATE, {"time": 0.0, "error": "http://here refuses the connection"})
        away = await display.shows(": http://here refuses the connection", "/avatar/{digest}")
        assert away.startswith("values of ")
        display.receive()
        await display.shows("http://here  in the last 10.0 s\n")
        display.clock[0] += 2.0 + PATIENCE + 1
        await display.press("m")
        await display.shows(": http://here: no response for 6 s\n")
        display.receive({**STATE, "since_start": True})
        await display.shows("http://here  since the start of the server\n")

    show(scenario)


def test_before_the_first_response() -> None:
    """Keys work while the first response does not come."""

    async def scenario(display: Display) -> None:
        await display.press("question_mark")
        await display.shows("http://here  waiting for the first response\n", "sort the workers")
        display.clock[0] += 10
        await display.press("question_mark")
        await display.shows("http://here: no response for 10 s\n")

    show(scenario)


def test_a_first_request_that_fails() -> None:
    """The display ends with the error, which the command reports."""

    def failing() -> Iterator[State]:
        raise WebError("http://here refuses")
        yield STATE

    async def scenario(display: Display) -> None:
        await display.until(lambda: display.app.return_value)

    assert show(scenario, states=failing()).return_value == "http://here refuses"


def test_an_unexpected_error() -> None:
    """The display ends with the error, also after values: nothing would be requested again."""

    def failing() -> Iterator[State]:
        yield STATE
        raise KeyError("le")

    async def scenario(display: Display) -> None:
        await display.until(lambda: display.app.return_value)

    assert show(scenario, states=failing()).return_value == "KeyError: 'le'"


def test_a_terminal_without_unicode() -> None:
    """Only ASCII is written, also with the help and the filter."""

    async def scenario(display: Display) -> None:
        display.receive(STATE, STATE)
        assert (await display.shows("requests   100.0/s    ##")).isascii()
        await display.press("slash", "a")
        assert (await display.shows("with a:")).isascii()
        await display.press("enter")
        await display.until(lambda: not isinstance(display.app.focused, Input))
        await display.press("question_mark")
        assert (await display.shows("sort the workers")).isascii()

    show(scenario, 60, 20, ASCII)


def test_a_resized_terminal() -> None:
    """The tables are side by side as soon as there are columns for both."""

    async def scenario(display: Display) -> None:
        display.receive()
        await display.shows("\n\nworker")
        await display.pilot.resize_terminal(120, 30)
        await display.shows("p95    worker", without="\n\nworker")

    show(scenario)
