"""The command's page in the documentation: what it shows exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from avatar_telemetry.cli import checks
from avatar_telemetry.cli.command import command as group
from tests.support.paths import REPOSITORY

PAGE = (REPOSITORY / "docs/cli.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"^avatar-telemetry (\S+.*)$", PAGE, re.MULTILINE)
SOURCE = "".join(path.read_text() for path in Path(checks.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("line", SHOWN)
def test_each_shown_command_can_be_given(line: str) -> None:
    """Every command line on the page is one that the command takes."""
    name, *arguments = shlex.split(line)
    context = click.Context(group.commands[name])
    group.commands[name].parse_args(context, arguments)


def test_each_command_is_shown() -> None:
    """No command is left out."""
    assert {line.split()[0] for line in SHOWN} == set(group.commands)


def test_each_named_check_is_made() -> None:
    """Every check that the page names is one of the doctor's."""
    for named in re.findall(r"`(?:settings|packages|folder|collector|memory)\.(\w+)`", PAGE):
        assert re.search(rf'\.{named}"|"{named}"|\.tls_\{{what}}"', SOURCE), named
