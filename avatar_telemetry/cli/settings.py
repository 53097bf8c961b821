"""``settings``: the reference of all settings, its page, and the variables that are set."""

from __future__ import annotations

import os
from dataclasses import asdict

import click

from avatar_telemetry.cli.completion import setting_names
from avatar_telemetry.cli.given import Given, State, given_variables
from avatar_telemetry.cli.output import hang, print_json
from avatar_telemetry.cli.reference import markdown
from avatar_telemetry.config.settings import variables
from avatar_telemetry.config.variable import Setting

STATES: dict[State, tuple[str, str]] = {
    "fault": ("Faults: the server does not start", "red"),
    "ignored": ("Ignored", "yellow"),
    "set": ("Set", "green"),
}
"""The heading of the variables with a state, and its colour."""
INDENT = 4


@click.command("settings")
@click.argument("word", default="", shell_complete=setting_names)
@click.option("--from-env", is_flag=True,
              help="Show the variables that are set here, and those that are ignored.")  # fmt: skip
@click.option(
    "--markdown", "as_markdown", is_flag=True, help="Print the page of the documentation."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def settings(word: str, from_env: bool, as_markdown: bool, as_json: bool) -> int:
    """Describe every setting, or those with WORD in their name or meaning.

    With --from-env: the variables of this environment, without secrets. Each has its meaning, or
    the reason why it is ignored. Status 2: one of them stops the start of the server.

    \b
    Examples:
      avatar-telemetry settings
      avatar-telemetry settings privacy
      (set -a; . ./production.env; set +a; avatar-telemetry settings --from-env)
      avatar-telemetry settings --markdown > docs/settings.md
    """
    if as_markdown:
        click.echo(markdown(), nl=False)
        return 0
    if from_env:
        return _show_given(word, as_json)
    found = [each for each in variables() if _has(word, each)]
    if not found:
        raise click.UsageError(f"no setting has {word!r} in its name or meaning")
    if as_json:
        names = ("variable", "alias", "default", "allowed", "meaning", "secret")
        print_json([{name: getattr(each, name) for name in names} for each in found])
        return 0
    for each in found:
        alias = f" (or {each.alias})" if each.alias else ""
        click.echo(click.style(each.variable, bold=True) + alias)
        _print_below(
            f"{each.meaning} Allowed: {each.allowed}. Default: {each.default or 'none'}.", INDENT
        )
    return 0


def _has(word: str, each: Setting | Given) -> bool:
    return word.lower() in f"{each.variable} {each.meaning}".lower()


def _show_given(word: str, as_json: bool) -> int:
    """Show the variables of this environment, and return the status."""
    found = [each for each in given_variables(os.environ) if _has(word, each)]
    if as_json:
        print_json([asdict(each) for each in found])
    else:
        for state, (heading, colour) in STATES.items():
            members = [each for each in found if each.state == state]
            if members:
                click.secho(f"{heading} ({len(members)})", bold=True, fg=colour)
            for each in members:
                if state != "fault":  # whose line begins with the variable
                    click.echo(f"  {click.style(each.variable, bold=True)}={each.value}")
                _print_below(each.reason or each.meaning, 2 if state == "fault" else INDENT + 2)
        if not found:
            click.echo("No variable of a setting is set: all have their defaults.")
    return 2 if any(each.state == "fault" for each in found) else 0


def _print_below(text: str, indent: int) -> None:
    click.echo(" " * indent + hang(text, indent))
