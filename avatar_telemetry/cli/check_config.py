"""``check-config``: the checks of the server's start, without a server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping

import click

from avatar_telemetry._base.errors import SettingsError
from avatar_telemetry._base.log import LOGGER
from avatar_telemetry.cli.checks.page import check_port
from avatar_telemetry.cli.checks.runtime_dir import check_runtime_dir
from avatar_telemetry.cli.checks.settings import check_keep_rules
from avatar_telemetry.cli.environment import find_modules, load_chosen_profile
from avatar_telemetry.cli.given import shown_value
from avatar_telemetry.cli.output import print_json, print_table
from avatar_telemetry.config.destinations import check_exporters
from avatar_telemetry.config.settings import Settings, variables
from avatar_telemetry.config.typos import typos
from avatar_telemetry.config.variable import raw_texts
from avatar_telemetry.runtime.startup import (
    app_fault,
    check_app,
    check_endpoint,
    check_in_child,
    faults_of,
    warn_of_ignored,
    warn_of_typos,
)

OWN_PORT = ("metrics_port.read", "metrics_port.token")
"""Findings of the doctor where a server of this package uses the port."""
TIMEOUT = 3.0
"""Seconds to wait for a response of the port."""


@click.command("check-config")
@click.option("--all", "everything", is_flag=True, help="Show the defaults, too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the faults.")
def check_config(everything: bool, as_json: bool) -> int:
    """Check the configuration as the server's start does, and show the settings that are set.

    It checks the settings, the profile, the application named by AVATAR_TELEMETRY_APP (imported in
    a process of its own), the access to the runtime directory, and the metrics port. It makes and
    sends nothing, and can run beside a running server; a directory or a port that a server of this
    package uses is assumed to be that of the server to restart.

    It does not check the configuration of gunicorn (gunicorn --check-config), the rights of another
    user of its workers, and the response of a collector (avatar-telemetry doctor).

    Status 0: the server would start. Status 2: it would not; all faults are listed.

    \b
    Examples:
      avatar-telemetry check-config
      env $(cat production.env) avatar-telemetry check-config --all
    """
    settings, faults = Settings.read(os.environ)
    find_modules()
    warn_of_ignored(settings)
    warn_of_typos(os.environ)
    suspect = [f"{each.message}. {each.advice}" for each in typos(os.environ)]
    faults = list(dict.fromkeys(faults + _faults(settings, os.environ)))
    rules = () if faults else check_keep_rules(settings, load_chosen_profile(settings))
    unmatched = [f"{each.message}. {each.advice}" for each in rules]
    rows = [row for row in _effective(os.environ) if everything or row[2] != "default"]
    if as_json:
        shown = [dict(zip(("variable", "value", "from"), row, strict=True)) for row in rows]
        status = 2 if faults else 0
        warnings = [*settings.warnings, *suspect, *unmatched]
        print_json({"status": status, "faults": faults, "warnings": warnings, "settings": shown})
        return status
    if faults:
        raise SettingsError(*faults)
    for text in unmatched:
        LOGGER.warning("%s", text)
    print_table(rows)
    count = f"{len(rows) or 'none'} {'shown' if everything else 'set'}"
    click.echo(f"The settings are good; {count}.")
    return 0


def _faults(settings: Settings, environ: Mapping[str, str]) -> list[str]:
    """Return all faults that would stop the start."""
    checks: list[Callable[[], object]] = [
        lambda: load_chosen_profile(settings),
        lambda: check_exporters(settings),
    ]
    if environ.get("AVATAR_TELEMETRY_APP"):
        silent = app_fault(settings.app, "its import ends the process")
        checks.append(lambda: check_in_child(lambda: check_app(settings.app), silent))
    if not settings.sdk_disabled:
        checks += [lambda: _check_directory(settings), lambda: _check_port(settings)]
    return faults_of(*checks)


def _check_directory(settings: Settings) -> None:
    errors = [each for each in check_runtime_dir(settings) if each.level == "error"]
    if errors:
        raise SettingsError(*(f"{each.message}. {each.advice}" for each in errors))


def _check_port(settings: Settings) -> None:
    # Requested before it is bound, which could make the start of a server fail; without the token,
    # because any program may use the port.
    if not any(each.check in OWN_PORT for each in check_port(settings, "", TIMEOUT)):
        check_endpoint(settings)


def _effective(environ: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield each variable with its value and the source of the value."""
    known = {each.variable for each in variables()}
    for setting in variables():
        source, value = next(raw_texts(environ, setting))
        if source == setting.alias and source in known:
            continue  # a variable of one signal with the value for all signals
        origin = "set" if source == setting.variable else source or "default"
        yield setting.variable, shown_value(setting, value), origin
