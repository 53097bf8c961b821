"""``top``: a live view of a running server, from its metrics page alone."""

from __future__ import annotations

import os
import time
from typing import Any

import click

from avatar_telemetry.cli.output import print_json
from avatar_telemetry.cli.rates import age, derive_state
from avatar_telemetry.cli.samples import EMPTY, Samples, fetch
from avatar_telemetry.cli.web import WebError
from avatar_telemetry.config.settings import SETTINGS

PATH = SETTINGS["metrics_path"]
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
@click.option("--json", "as_json", is_flag=True, help="With --once: print JSON.")
def top(url: str, token: str, interval: float, once: bool, as_json: bool) -> None:
    """Show the server at URL: rates, percentiles, cache, the slowest routes, workers.

    Ctrl-C ends it.

    \b
    Examples:
      avatar-telemetry top
      avatar-telemetry top https://avatars.example.org --token "$TOKEN" --interval 5
      avatar-telemetry top --once --json | jq .requests
    """
    watched = Watched(url, token)
    if once and as_json:
        print_json(watched.first())
        return
    from avatar_telemetry.cli import board  # only this command imports rich

    console = board.make_console()
    if once:
        console.print(board.draw(url, watched.first(), board.SINCE_START))
        return
    board.watch(console, url, watched, interval)


class Watched:
    """A server whose metrics page is read repeatedly, by its URL or the page's, and a token."""

    def __init__(self, url: str, token: str) -> None:
        self._url, self._token = url, token
        self._path = os.environ.get(PATH.variable) or PATH.default
        self._last: tuple[float, Samples] | None = None

    def first(self) -> dict[str, Any]:
        """Return the averages since the start of the server."""
        page = self._read()
        self._last = time.monotonic(), page
        return derive_state(page.minus(EMPTY), page, age(page, time.time()))

    def next(self) -> dict[str, Any]:
        """Return the averages since the last call."""
        if self._last is None:
            return self.first()
        page, now = self._read(), time.monotonic()
        then, before = self._last
        self._last = now, page
        return derive_state(page.minus(before), page, max(now - then, 1e-3))

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
