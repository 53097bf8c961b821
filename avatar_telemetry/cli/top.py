"""``top``: a live view of a running server, from its metrics page alone."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from urllib.parse import urlsplit

import click

from avatar_telemetry.cli.output import colours, say_json
from avatar_telemetry.cli.rates import Look, age, look
from avatar_telemetry.cli.samples import EMPTY, Samples, read_samples
from avatar_telemetry.cli.web import Site, WebError
from avatar_telemetry.config.settings import SETTINGS

PATH = SETTINGS["metrics_path"]


@click.command("top")
@click.argument("url", default="http://127.0.0.1:8000")
@click.option(
    "--token", default="", envvar="AVATAR_TELEMETRY_METRICS_TOKEN",
    help="Bearer token of its metrics; else AVATAR_TELEMETRY_METRICS_TOKEN.",
)  # fmt: skip
@click.option(
    "--interval",
    "-i",
    default=2.0,
    type=click.FloatRange(0.1, 60),
    show_default=True,
    help="Seconds between two looks.",
)
@click.option("--once", is_flag=True, help="Print the averages since the server's start, and end.")
@click.option("--json", "as_json", is_flag=True, help="With --once, for programs.")
def top(url: str, token: str, interval: float, once: bool, as_json: bool) -> None:
    """Watch the server at URL: rates, percentiles, cache, the slowest routes, workers.

    Ctrl-C ends it.

    \b
    Examples:
      avatar-telemetry top
      avatar-telemetry top https://avatars.example.org --token "$TOKEN" --interval 5
      avatar-telemetry top --once --json | jq .requests
    """
    watched = Watched(url, token)
    if once and as_json:
        say_json(asdict(watched.first()))
        return
    from avatar_telemetry.cli import board  # no other command pays for the import of rich

    console = board.make_console(colours())
    if once:
        console.print(board.draw(url, watched.first(), "since the start of the server"))
        return
    board.watch(console, url, watched, interval)


class Watched:
    """A server whose page is read again and again.

    Args:
        url: of the server, or of its page.
        token: that opens it, or an empty text.

    Raises:
        WebError: it is no URL.
    """

    def __init__(self, url: str, token: str) -> None:
        bare = not urlsplit(url).path.strip("/")
        path = os.environ.get(PATH.variable) or PATH.default
        self._site = Site(url.rstrip("/") + path if bare else url)
        self._headers = {"Accept": "text/plain"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._last: tuple[float, Samples] | None = None

    def first(self) -> Look:
        """The server since its start."""
        page = self._read()
        self._last = time.monotonic(), page
        return look(page.minus(EMPTY), page, age(page, time.time()))

    def next(self) -> Look:
        """The server since the last look."""
        if self._last is None:
            return self.first()
        page, now = self._read(), time.monotonic()
        then, before = self._last
        self._last = now, page
        return look(page.minus(before), page, max(now - then, 1e-3))

    def _read(self) -> Samples:
        """Read the page.

        Raises:
            WebError: there is none.
        """
        answer = self._site.ask("GET", "", headers=self._headers)
        samples = read_samples(answer.text) if answer.status == 200 else None
        if samples is None or not samples.has("avatar_telemetry_build_info"):
            raise WebError(
                f"{self._site.url}{self._site.path} does not show the metrics ({answer.status});"
                " avatar-telemetry doctor --url says why"
            )
        return samples
