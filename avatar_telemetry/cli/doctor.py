"""``doctor``: looks at everything that has to be right, and says what to do where it is not."""

from __future__ import annotations

import os
from collections.abc import Iterator

import click

from avatar_telemetry.cli.checks.collector import check_collector
from avatar_telemetry.cli.checks.finding import STATUS, Finding, Level, exit_status
from avatar_telemetry.cli.checks.installed import check_installed
from avatar_telemetry.cli.checks.page import check_page, check_port
from avatar_telemetry.cli.checks.runtime_folder import check_folder
from avatar_telemetry.cli.checks.settings import check_settings
from avatar_telemetry.cli.environment import find_modules, load_chosen_profile
from avatar_telemetry.cli.output import say, say_json
from avatar_telemetry.startup import correct_environment

MARKS: dict[Level, tuple[str, str]] = {
    "good": ("ok", "green"), "note": ("note", "cyan"),
    "warning": ("warning", "yellow"), "error": ("ERROR", "red"),
}  # fmt: skip
WIDTH = max(len(mark) for mark, _ in MARKS.values())


@click.command("doctor")
@click.option("--url", default="", help="A running server whose metrics are read, too.")
@click.option(
    "--token", default="", envvar="AVATAR_TELEMETRY_METRICS_TOKEN",
    help="Bearer token of its metrics; else AVATAR_TELEMETRY_METRICS_TOKEN.",
)  # fmt: skip
@click.option("--no-send", is_flag=True, help="Send no test span, metric or log record.")
@click.option("--timeout", default=5.0, type=click.FloatRange(0.1, 60), show_default=True,
              help="Seconds for each step.")  # fmt: skip
@click.option("--quiet", "-q", is_flag=True, help="Show warnings and errors only.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def doctor(url: str, token: str, no_send: bool, timeout: float, quiet: bool, as_json: bool) -> int:
    """Check settings, packages, collector, runtime folder, and a running server's metrics.

    Reads the environment as the server does: run it there, as the server's user. Sends one span
    named "avatar-telemetry doctor", one metric named avatar_telemetry_doctor, and one log record
    where these are exported.

    Status 0: all is well. Status 1: there are warnings. Status 2: there are errors.

    \b
    Examples:
      avatar-telemetry doctor
      avatar-telemetry doctor --url http://127.0.0.1:8000 --quiet
      avatar-telemetry doctor --no-send --json
    """
    found = list(examine(url, token, send=not no_send, timeout=timeout))
    status = exit_status(found)
    if as_json:
        say_json({"status": status, "findings": [each.to_json() for each in found]})
    else:
        _show([each for each in found if not quiet or STATUS[each.level]])
        _sum_up(found)
    return status


def examine(url: str, token: str, *, send: bool, timeout: float) -> Iterator[Finding]:
    """Everything that is found.

    Args:
        url: of a running server, or an empty text.
        token: of its metrics, or an empty text.
        send: whether test records may be sent.
        timeout: seconds for each step.
    """
    find_modules()
    settings, findings = check_settings(os.environ)
    yield from findings
    if settings is not None:
        correct_environment(os.environ, settings)
    profile = load_chosen_profile(settings) if settings else None
    yield from check_installed(settings, profile)
    if settings is None or profile is None:
        return
    if not settings.sdk_disabled:
        yield from check_folder(settings)
        yield from check_collector(settings, send=send, timeout=timeout)
        yield from check_port(settings, token, timeout)
    if url:
        yield from check_page(settings, profile, url, token, timeout)


def _show(found: list[Finding]) -> None:
    for place in dict.fromkeys(each.place for each in found):
        say(click.style(place.replace("_", " "), bold=True))
        for each in (each for each in found if each.place == place):
            mark, colour = MARKS[each.level]
            say(f"  {click.style(mark.ljust(WIDTH), fg=colour)}  {each.message}")
            if each.advice:
                say(f"  {' ' * WIDTH}  -> {each.advice}")


def _sum_up(found: list[Finding]) -> None:
    errors = sum(each.level == "error" for each in found)
    warnings = sum(each.level == "warning" for each in found)
    if not errors and not warnings:
        say(click.style("All is well.", fg="green"))
        return
    counts = [
        f"{number} {word}{'s' if number > 1 else ''}"
        for number, word in ((errors, "error"), (warnings, "warning"))
        if number
    ]
    say(click.style(", ".join(counts) + ".", fg="red" if errors else "yellow"))
