"""``doctor``: checks of all parts between a request and the collector, each with its fix."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict
from itertools import groupby

import click

from avatar_telemetry.cli.checks.collector import check_collector
from avatar_telemetry.cli.checks.exporter import check_exporter
from avatar_telemetry.cli.checks.finding import STATUS, Finding, Level, exit_status
from avatar_telemetry.cli.checks.host import check_host
from avatar_telemetry.cli.checks.installed import check_installed
from avatar_telemetry.cli.checks.page import check_page, check_port
from avatar_telemetry.cli.checks.runtime_dir import check_runtime_dir, dirs_in_use
from avatar_telemetry.cli.checks.settings import check_settings
from avatar_telemetry.cli.environment import find_modules, load_chosen_profile
from avatar_telemetry.cli.output import hang, print_json
from avatar_telemetry.cli.top import token_option
from avatar_telemetry.runtime.startup import correct_environment

MARKS: dict[Level, tuple[str, str]] = {
    "good": ("ok", "green"), "note": ("note", "cyan"),
    "warning": ("warning", "yellow"), "error": ("ERROR", "red"),
}  # fmt: skip
WIDTH = max(len(mark) for mark, _ in MARKS.values())


@click.command("doctor")
@click.option("--url", default="", help="A running server whose metrics are checked, too.")
@token_option
@click.option("--no-send", is_flag=True, help="Send no test span, metric or log record.")
@click.option("--timeout", default=5.0, type=click.FloatRange(0.1, 60), show_default=True,
              help="Seconds for each step.")  # fmt: skip
@click.option("--quiet", "-q", is_flag=True, help="Show warnings and errors only.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(url: str, token: str, no_send: bool, timeout: float, quiet: bool, as_json: bool) -> int:
    """Check settings, packages, host, runtime directory, exporter, collector, and a server's page.

    Errors and warnings come first. It reads the environment as the server does: run it in the same
    environment, as the server's user, on its host. It sends one span named "avatar-telemetry
    doctor", one metric named avatar_telemetry_doctor, and one log record, where these are exported.

    Status 0: nothing to fix. Status 1: there are warnings. Status 2: there are errors.

    \b
    Examples:
      avatar-telemetry doctor
      avatar-telemetry doctor --url http://127.0.0.1:8000 --quiet
      avatar-telemetry doctor --no-send --json
    """
    found = list(examine(url, token, send=not no_send, timeout=timeout))
    status = exit_status(found)
    if as_json:
        print_json({"status": status, "findings": [asdict(each) for each in found]})
        return status
    _show_faults([each for each in found if STATUS[each.level]])
    if not quiet:
        _show_areas([each for each in found if not STATUS[each.level]])
    _summarize(found)
    return status


def examine(url: str, token: str, *, send: bool, timeout: float) -> Iterator[Finding]:
    """Run all checks, with a timeout in seconds for each step; those of a running server where a
    URL is given."""
    find_modules()
    settings, findings = check_settings(os.environ)
    yield from findings
    if settings is None:
        yield from check_installed(None, None)
        return
    correct_environment(os.environ, settings)
    profile = load_chosen_profile(settings)
    yield from check_installed(settings, profile)
    if not settings.sdk_disabled:
        host = list(check_host(settings, os.environ))
        yield from host
        if not any(each.level == "error" for each in host):
            yield from check_runtime_dir(settings)
            for path in dirs_in_use(settings):
                yield from check_exporter(settings, path, timeout)
        yield from check_collector(settings, send=send, timeout=timeout)
        yield from check_port(settings, token, timeout)
    if url:
        yield from check_page(settings, profile, url, token, timeout)


def _show_faults(found: list[Finding]) -> None:
    """Show the errors, then the warnings, with the names of their checks."""
    if found:
        click.secho("errors and warnings", bold=True)
    for each in sorted(found, key=lambda each: -STATUS[each.level]):
        _show(each, f"{each.check}: {each.message}")


def _show_areas(found: list[Finding]) -> None:
    areas = list(dict.fromkeys(each.area for each in found))
    found = sorted(found, key=lambda each: areas.index(each.area))
    for area, findings in groupby(found, key=lambda each: each.area):
        click.secho(area.replace("_", " "), bold=True)
        for each in findings:
            _show(each, each.message)


def _show(each: Finding, text: str) -> None:
    mark, colour = MARKS[each.level]
    click.echo(f"  {click.style(mark.ljust(WIDTH), fg=colour)}  {hang(text, WIDTH + 4)}")
    if each.advice:
        click.echo(f"  {' ' * WIDTH}  -> {hang(each.advice, WIDTH + 7)}")


def _summarize(found: list[Finding]) -> None:
    levels = [each.level for each in found]
    counts = {name: levels.count(name) for name in ("error", "warning") if name in levels}
    if not counts:
        click.secho("No errors and no warnings.", fg="green")
        return
    text = ", ".join(f"{number} {name}{'s'[: number - 1]}" for name, number in counts.items())
    click.secho(f"{text}.", fg="red" if "error" in counts else "yellow")
