"""The command's page in the documentation: what it shows exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from avatar_telemetry.cli import checks
from avatar_telemetry.cli.checks.tls import VERIFICATION
from avatar_telemetry.cli.command import COMMANDS, command
from avatar_telemetry.config import typos
from avatar_telemetry.config.otlp import SIGNALS
from tests.support.paths import REPOSITORY

PAGE = (REPOSITORY / "docs/cli.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"^avatar-telemetry (\S+.*)$", PAGE, re.MULTILINE)
SOURCE = "".join(
    path.read_text() for path in (*Path(checks.__file__).parent.glob("*.py"), Path(typos.__file__))
)


@pytest.mark.parametrize("line", SHOWN)
def test_each_shown_command_can_be_given(line: str) -> None:
    """Every command line on the page is one that the command takes."""
    name, *arguments = shlex.split(line)
    found = command.get_command(click.Context(command), name)
    assert found is not None
    found.parse_args(click.Context(found), arguments)


def test_each_command_is_shown() -> None:
    """No command is left out."""
    assert {line.split()[0] for line in SHOWN} == set(COMMANDS)


def test_each_named_check_is_made() -> None:
    """Every check that the page names is one of the doctor's, and every name is on the page."""
    made = {f"collector.tls_{name}" for name, _, _ in VERIFICATION.values()}
    for area, name in re.findall(r'"(\w+|{signal})\.(\w+)"', SOURCE):
        made |= {f"{each}.{name}" for each in SIGNALS} if "{" in area else {f"{area}.{name}"}
    named, area = set(), ""
    text = PAGE.partition("## check-config")[0]
    for first, name in re.findall(r"`([a-z_]*)\.(\w+|\.\.)`", text):
        area = first or area
        named |= {f"{area}.{name}"} - {f"{area}..."}
    assert named and named <= made
