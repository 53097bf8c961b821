"""``check-config``: what the start of the server checks, without a server."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import click

from avatar_telemetry.cli.environment import find_modules
from avatar_telemetry.cli.output import say, say_json, say_table
from avatar_telemetry.config.settings import Settings, variables
from avatar_telemetry.config.variable import Setting
from avatar_telemetry.export.wanted import check_exporters
from avatar_telemetry.startup import load_profile

HIDDEN = "(set, not shown)"


@click.command("check-config")
@click.option("--all", "everything", is_flag=True, help="Show the defaults, too.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def check_config(everything: bool, as_json: bool) -> None:
    """Check the settings as the server does at its start, and show those that are set.

    Status 0: the server would start with them. Status 2: it would not, and each fault is named.

    \b
    Examples:
      avatar-telemetry check-config
      env $(cat production.env) avatar-telemetry check-config --all
    """
    settings = Settings.from_env(os.environ)
    find_modules()
    load_profile(settings.profile)
    check_exporters(settings)
    rows = [row for row in _effective(os.environ) if everything or row[2] != "default"]
    if as_json:
        say_json([dict(zip(("variable", "value", "from"), row, strict=True)) for row in rows])
        return
    say_table(rows)
    say(f"The settings are good; {len(rows) or 'none'} {'shown' if everything else 'set'}.")


def _effective(environ: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Variable, value and where that is from."""
    for setting in variables():
        value, source = _value(environ, setting)
        if source == setting.alias and source in {each.variable for each in variables()}:
            continue  # one signal's, which only repeats what is said for all
        yield setting.variable, HIDDEN if setting.secret and value else value, source


def _value(environ: Mapping[str, str], setting: Setting) -> tuple[str, str]:
    for variable in filter(None, (setting.variable, setting.alias)):
        text = environ.get(variable)
        if text or (text is not None and setting.empty):
            return text, "set" if variable == setting.variable else variable
    return setting.default, "default"
