"""``top``: a live view of a running server, from its metrics page alone."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from threading import Event

import click

from avatar_telemetry.cli.board import View, interval_of, summary, tables
from avatar_telemetry.cli.layout import glyphs_of, text_of
from avatar_telemetry.cli.output import print_json
from avatar_telemetry.cli.rates import REQUESTS, State, age, derive_state
from avatar_telemetry.cli.samples import EMPTY, Samples, fetch
from avatar_telemetry.cli.web import WebError
from avatar_telemetry.config.settings import SETTINGS

PATH = SETTINGS["metrics_path"]
WIDTH_WITHOUT_TERMINAL = 110
token_option = click.option(
    "--token", default="", envvar="AVATAR_TELEMETRY_METRICS_TOKEN",
    help="Bearer token of its metrics; by default AVATAR_TELEMETRY_METRICS_TOKEN.",
)  # fmt: skip


@click.command("top")
@click.argument("url", default="http://127.0.0.1:8000")
@token_option
@click.option("--interval", "-i", default=2.0, type=click.FloatRange(0.1, 60), show_default=True,
              help="Seconds between two requests.")  # fmt: skip
@click.option("--once", is_flag=True, help="Print the averages since the server's start.")
@click.option("--json", "as_json", is_flag=True,
              help="Print a JSON object a line for each interval; with --once: one.")  # fmt: skip
def top(url: str, token: str, interval: float, once: bool, as_json: bool) -> None:
    """Show the server at URL: rates, percentiles, cache, the slowest routes, workers.

    The key q ends it, and ? shows the other keys. Without a terminal it prints the averages since
    the server's start, as --once does.

    \b
    Examples:
      avatar-telemetry top
      avatar-telemetry top https://avatars.example.org --token "$TOKEN" --interval 5
      avatar-telemetry top --once --json | jq .requests
      avatar-telemetry top --json | jq .errors
    """
    watched = Watched(url, token)
    if once and as_json:
        print_json(watched.next())
    elif as_json:
        _stream(watched.states(interval))
    elif once or not _is_interactive():
        state, width, glyphs = watched.next(), WIDTH_WITHOUT_TERMINAL, glyphs_of(sys.stdout)
        numbers, lists = summary(state, width, glyphs), tables(state, width, glyphs, View())
        click.echo(f"{url}  {interval_of(state)}\n{text_of([*numbers, [], *lists])}")
    else:
        from avatar_telemetry.cli.live import TopApp  # only this imports textual

        glyphs = glyphs_of(sys.stderr)  # as textual, which writes to it
        app = TopApp(url, watched.states(interval), interval, glyphs)
        fault = app.run(mouse=False)  # the terminal's own selection of text works
        if fault:
            raise WebError(fault)
        sys.exit(app.return_code or 0)


class Watched:
    """A server whose metrics page is read repeatedly, by its URL or the page's, and a token."""

    def __init__(self, url: str, token: str) -> None:
        self._url, self._token = url, token
        self._path = os.environ.get(PATH.variable) or PATH.default
        self._last: tuple[float, Samples] | None = None

    def states(self, interval: float) -> Iterator[State]:
        """Yield a state for each interval in seconds; with ``error`` alone for a failed request.

        Raises:
            WebError: the first request failed.
        """
        yield self.next()
        pause = Event()
        while not pause.wait(interval):
            try:
                state = self.next()
            except WebError as error:
                state = {"time": time.time(), "error": str(error)}
            yield state

    def next(self) -> State:
        """Return the averages since the last call, or since the start of the server.

        Raises:
            WebError: the response is not the metrics page.
        """
        page, now, clock = self._read(), time.monotonic(), time.time()
        last, self._last = self._last, (now, page)
        # Where the server was restarted, its counters begin at zero.
        if since_start := last is None or page.total(REQUESTS) < last[1].total(REQUESTS):
            last = now - age(page, clock), EMPTY
        then, before = last
        try:
            state = derive_state(page.minus(before), page, max(now - then, 1e-3))
        except (KeyError, ValueError) as error:  # a label that is missing, or is not a number
            raise WebError(f"{self._url} has metrics of another program ({error!r})") from error
        return {"time": clock, "since_start": since_start, **state}

    def _read(self) -> Samples:
        """Read the page.

        Raises:
            WebError: the response is not the metrics page.
        """
        url, response, samples = fetch(self._url, self._token, path=self._path)
        if samples is None:
            raise WebError(
                f"{url} does not have the metrics ({response.status});"
                " run avatar-telemetry doctor --url to find the cause"
            )
        return samples


def _stream(states: Iterator[State]) -> None:
    """Print an object a line until SIGINT, SIGTERM or the end of the reader."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        try:
            for state in states:
                click.echo(json.dumps(state))
        except BrokenPipeError:
            # click would end with status 1, and the interpreter flush again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_interactive() -> bool:
    """Return whether keys can be read and the display be drawn."""
    streams = (sys.stdin, sys.stdout, sys.stderr)
    return os.environ.get("TERM", "dumb") != "dumb" and all(
        stream is not None and stream.isatty() for stream in streams
    )
