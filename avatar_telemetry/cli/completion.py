"""Completion of arguments and options by the shell.

``click`` calls each function with the context of the command, the parameter, and the text before
the cursor. A function imports what it needs: other commands do not import it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from avatar_telemetry._base.errors import AvatarTelemetryError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from avatar_telemetry.profiles.model import Profile

VALUES = {"digest": "0bc83cb571cd1c50ba6f3e8a78ef1346"}
"""The value of a placeholder in an example of a route; others are replaced by their names."""


def setting_names(
    context: click.Context, parameter: click.Parameter, text: str
) -> list[CompletionItem]:
    """Complete the name of a variable, with its meaning."""
    from click.shell_completion import CompletionItem

    from avatar_telemetry.config.settings import variables

    found = {each.variable: each.meaning for each in variables()}
    return [
        CompletionItem(name, help=found[name])
        for name in sorted(found)
        if name.startswith(text.upper())
    ]


def profile_names(context: click.Context, parameter: click.Parameter, text: str) -> list[str]:
    """Complete the name of a profile of this package."""
    from avatar_telemetry.config.parsing import PROFILES

    return _matching(text, PROFILES)


def route_paths(context: click.Context, parameter: click.Parameter, text: str) -> list[str]:
    """Complete the path of a route of the profile."""
    profile = _chosen_profile(context)
    return _matching(text, (_example(each.template) for each in profile.routes)) if profile else []


def generator_names(context: click.Context, parameter: click.Parameter, text: str) -> list[str]:
    """Complete the name of a generator of the profile."""
    profile = _chosen_profile(context)
    return _matching(text, profile.generators) if profile else []


def runtime_dirs(
    context: click.Context, parameter: click.Parameter, text: str
) -> list[CompletionItem]:
    """Complete the runtime directory of a running server, else any directory."""
    from click.shell_completion import CompletionItem

    from avatar_telemetry.metrics.folder import served_dirs

    served = _matching(text, map(str, served_dirs()))
    return [CompletionItem(each) for each in served] or [CompletionItem(text, type="dir")]


def _chosen_profile(context: click.Context) -> Profile | None:
    """Return the profile of the options or of the settings, ``None`` where it cannot be loaded."""
    from avatar_telemetry.cli.environment import load_chosen_profile
    from avatar_telemetry.config.settings import Settings

    named = context.params.get("profile")
    environ = {**os.environ, **({"AVATAR_TELEMETRY_PROFILE": named} if named else {})}
    try:
        return load_chosen_profile(Settings.read(environ)[0])
    except AvatarTelemetryError:
        return None


def _example(template: str) -> str:
    """Return a path for a template such as ``/avatar/{digest}``."""
    parts = template.replace("{", "}").split("}")
    return "".join(VALUES.get(part, part) for part in parts)


def _matching(text: str, values: Iterable[str]) -> list[str]:
    return [each for each in dict.fromkeys(values) if each.startswith(text)]
