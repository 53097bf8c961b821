"""``check-config``: what the start of the server checks, without a server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping

import click

from avatar_telemetry.cli.checks.page import check_port
from avatar_telemetry.cli.checks.runtime_folder import check_folder
from avatar_telemetry.cli.environment import find_modules
from avatar_telemetry.cli.output import say, say_json, say_table
from avatar_telemetry.config.destinations import check_exporters
from avatar_telemetry.config.settings import Settings, variables
from avatar_telemetry.config.variable import Setting
from avatar_telemetry.errors import SettingsError
from avatar_telemetry.startup import (
    app_fault,
    check_apart,
    check_app,
    check_endpoint,
    faults_of,
    load_profile,
    warn_of_doubts,
    warn_of_ignored,
)

HIDDEN = "(set, not shown)"
SERVED = ("metrics_port.read", "metrics_port.token")
"""What the doctor finds where a server of the telemetry holds the port."""
ASK_TIMEOUT = 3.0
"""Seconds that an answer of the port is waited for."""


@click.command("check-config")
@click.option("--all", "everything", is_flag=True, help="Show the defaults, too.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def check_config(everything: bool, as_json: bool) -> None:
    """Check what the server's start checks, and show the settings that are set.

    Checked are the settings, the profile, the application that AVATAR_TELEMETRY_APP names (it is
    imported, in a process of its own), the rights of the runtime folder and the metrics port.
    Nothing is made or sent, so that it is safe beside a running server; a
    folder or a port that a server of the telemetry holds is thought to be that of the one to be
    restarted.

    Not checked are the configuration of gunicorn (gunicorn --check-config), the rights of another
    user that it may give its workers, and whether a collector answers (avatar-telemetry doctor).

    Status 0: the server would start. Status 2: it would not, and each fault is named.

    \b
    Examples:
      avatar-telemetry check-config
      env $(cat production.env) avatar-telemetry check-config --all
    """
    settings, faults = Settings.read(os.environ)
    find_modules()
    warn_of_ignored(settings)
    warn_of_doubts(os.environ)
    faults += _faults(settings, os.environ)
    if faults:
        raise SettingsError(*dict.fromkeys(faults))
    rows = [row for row in _effective(os.environ) if everything or row[2] != "default"]
    if as_json:
        say_json([dict(zip(("variable", "value", "from"), row, strict=True)) for row in rows])
        return
    say_table(rows)
    say(f"The settings are good; {len(rows) or 'none'} {'shown' if everything else 'set'}.")


def _faults(settings: Settings, environ: Mapping[str, str]) -> list[str]:
    """The lines of everything that would stop the start."""
    checks: list[Callable[[], object]] = [
        lambda: load_profile(settings.profile),
        lambda: check_exporters(settings),
    ]
    if environ.get("AVATAR_TELEMETRY_APP"):
        silent = app_fault(settings.app, "its import ends the process")
        checks.append(lambda: check_apart(lambda: check_app(settings.app), silent))
    if not settings.sdk_disabled:
        checks += [lambda: _check_folder(settings), lambda: _check_port(settings)]
    return faults_of(*checks)


def _check_folder(settings: Settings) -> None:
    wrong = [each for each in check_folder(settings) if each.level == "error"]
    if wrong:
        raise SettingsError(*(f"{each.message}. {each.advice}" for each in wrong))


def _check_port(settings: Settings) -> None:
    if settings.prometheus_endpoint is None:
        return
    # Asked before it is bound: a server that runs must not find it taken for a moment.
    # Without the token: nobody knows yet who listens there.
    found = check_port(settings, "", ASK_TIMEOUT)
    if not any(each.check in SERVED for each in found):
        check_endpoint(settings)


def _effective(environ: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Variable, value and where that is from."""
    for setting in variables():
        value, source = _value(environ, setting)
        if source == setting.alias and source in {each.variable for each in variables()}:
            continue  # one signal's, which only repeats what is said for all
        if setting.secret and value:
            value = HIDDEN
        elif "://" in value and "?" in value:  # a URL's query may hold a key
            value = f"{value.partition('?')[0]}?{HIDDEN}"
        yield setting.variable, value, source


def _value(environ: Mapping[str, str], setting: Setting) -> tuple[str, str]:
    for variable in filter(None, (setting.variable, setting.alias)):
        text = environ.get(variable)
        if text or (text is not None and setting.empty):
            return text, "set" if variable == setting.variable else variable
    return setting.default, "default"
