"""The display of ``top`` in a terminal."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import ClassVar

from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from avatar_telemetry.cli.board import View, interval_of, summary, tables
from avatar_telemetry.cli.layout import Glyphs, Line, fit
from avatar_telemetry.cli.rates import State
from avatar_telemetry.cli.web import WebError

MAX_POINTS = 500
"""The states in a chart: more than a terminal has columns."""
PATIENCE = 3.0
"""Seconds without a response after which the display reports it."""
STYLES = {"alarm": "bold ansi_red"}
"""Colours are the terminal's own, so that light and dark ones are legible."""
KEYS = "q quit  ? help  / filter  sort: p p95  r rate  e errors  n name  m memory"
HELP = """\
q, ctrl+c  quit
?          show or hide this help
/          show only routes that contain a text;
           enter keeps it, escape ends it
p r e n    sort the routes by p95, rate, errors, name
m          sort the workers by memory, or by name
arrows, page up, page down, home, end: scroll

Values that an alert rule reports are red and end with !.
A ratio needs events: 7 requests, uploads or calls,
31 lookups in the interval."""


class Polled(Message):
    """A state of the server, or the error of the request for it."""

    def __init__(self, state: State) -> None:
        super().__init__()
        self.state = state


class Ended(Message):
    """The end of the states by an error.

    Args:
        fault: the line for the user.
    """

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault


class TopApp(App[str]):
    """The display of a server's states; its result is the error that ended them, if any.

    Args:
        url: the URL of the server.
        states: the states; the next one may take as long as the server does.
        interval: the seconds between two states.
        glyphs: the characters of the terminal.
        clock: the seconds of a monotonic clock.
    """

    ENABLE_COMMAND_PALETTE = False
    TITLE = "avatar-telemetry top"
    CSS = """
    #summary { max-height: 70%; }
    #tables { scrollbar-size: 0 0; margin-top: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit"),
        Binding("ctrl+c", "quit", priority=True),
        Binding("question_mark", "toggle_help"),
        Binding("slash", "filter"),
        Binding("escape", "reset"),
        Binding("p", "sort('p95')"),
        Binding("r", "sort('rate')"),
        Binding("e", "sort('errors')"),
        Binding("n", "sort('name')"),
        Binding("m", "sort_workers"),
    ]

    def __init__(
        self, url: str, states: Iterator[State], interval: float, glyphs: Glyphs,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        super().__init__(ansi_color=True)
        self._url, self._states, self._interval = url, states, interval
        self._glyphs, self._clock = glyphs, clock
        self._state: State | None = None
        self._history: deque[State | None] = deque(maxlen=MAX_POINTS)
        self._view = View()
        self._polled = clock()
        self._error = ""
        self._shows_help = False
        self._width = 0

    def compose(self) -> ComposeResult:
        yield Static(id="summary")
        with VerticalScroll(id="tables"):
            yield Static()
        yield Input(placeholder="text in the routes", compact=True)
        yield Static(id="keys")

    def on_mount(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self.exit)
        self.query_one(Input).display = False
        self.query_one("#tables").focus()
        self.set_interval(1, self._draw)  # reports a response that does not come
        # The end does not wait for a response: asyncio would join a thread of its own executor.
        threading.Thread(target=self._poll, name="poll", daemon=True).start()
        self._width = self.size.width
        self._draw()

    def on_resize(self, event: events.Resize) -> None:
        self._width = event.size.width  # self.size is still the old one
        self._draw()

    def on_polled(self, message: Polled) -> None:
        state, self._polled = message.state, self._clock()
        self._error = state.get("error", "")
        if not self._error:
            self._state = state
        point = None if self._error or state["since_start"] else _point(state)
        if point or self._history:
            self._history.append(point)
        self._draw()

    def on_ended(self, message: Ended) -> None:
        self.exit(message.fault)

    def on_input_changed(self, event: Input.Changed) -> None:
        self._select(self._view._replace(contains=event.value))

    def on_input_submitted(self) -> None:
        self.set_focus(self.query_one("#tables"))
        self.query_one(Input).display = False

    def action_filter(self) -> None:
        text = self.query_one(Input)
        text.display = True
        self.set_focus(text)  # at once: the next key belongs to the text

    def action_reset(self) -> None:
        self._shows_help = False
        self.query_one(Input).value = ""
        self.on_input_submitted()
        self._draw()

    def action_sort(self, order: str) -> None:
        self._select(self._view._replace(order=order))

    def action_sort_workers(self) -> None:
        self._select(self._view._replace(by_memory=not self._view.by_memory))

    def action_toggle_help(self) -> None:
        self._shows_help = not self._shows_help
        self._draw()

    def _poll(self) -> None:
        try:
            for state in self._states:
                self.post_message(Polled(state))
        except WebError as error:  # of the first request; later ones are states
            self.post_message(Ended(str(error)))
        except Exception as error:  # noqa: BLE001 - the display ends with it
            self.post_message(Ended(f"{type(error).__name__}: {error}"))

    def _select(self, view: View) -> None:
        self._view = view
        self._draw()

    def _draw(self) -> None:
        width, glyphs, state = self._width, self._glyphs, self._state
        numbers: list[Line] = []
        body: list[Line] = []
        if self._shows_help:
            body = [[(fit(line, width, glyphs), "")] for line in HELP.splitlines()]
        elif state:
            numbers = summary(state, width, glyphs, list(self._history))
            body = tables(state, width, glyphs, self._view)
        self._show("#summary", [self._title(), *numbers])
        self._show("#tables > Static", body)
        self.call_after_refresh(self._draw_keys)

    def _draw_keys(self) -> None:
        keys = f"arrows scroll  {KEYS}" if self.query_one("#tables").max_scroll_y else KEYS
        self._show("#keys", [[(fit(keys, self._width, self._glyphs), "dim")]])

    def _title(self) -> Line:
        """Return the URL and the interval, or the reason why the values are old."""
        late = self._clock() - self._polled
        fault = self._error
        if not fault and late > self._interval + PATIENCE:
            fault = f"{self._url}: no response for {late:.0f} s"
        text, style = fault or f"{self._url}  waiting for the first response", "alarm"
        if self._state and fault:
            values = time.strftime("%H:%M:%S", time.localtime(self._state["time"]))
            text = f"values of {values}: {fault}"
        elif self._state:
            text, style = f"{self._url}  {interval_of(self._state)}", "bold"
        return [(fit(text, self._width, self._glyphs), style)]

    def _show(self, widget: str, lines: list[Line]) -> None:
        spans = [
            (text, STYLES.get(style, style))
            for line in lines
            for text, style in [*line, ("\n", "")]
        ]
        self.query_one(widget, Static).update(Content.assemble(*spans[:-1]))


def _point(state: State) -> State:
    """Return the values of a state that the charts need."""
    return {name: state[name] for name in ("seconds", "requests", "errors", "percentiles")}
