"""The command as a whole: help, errors, colours, completion, what is missing."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from contextlib import redirect_stdout, suppress
from pathlib import Path
from unittest.mock import patch

import pytest

from avatar_telemetry.cli.command import command as group
from avatar_telemetry.cli.command import main
from tests.support.forked import in_child
from tests.support.rows import by_default
from tests.support.running import DEADLINE, command, environment, invoke, run

COMMANDS = sorted(group.commands)


def on_a_terminal(*arguments: str, **env: str) -> str:
    """The output of the command in a forked child that has a terminal."""
    terminal, side = pty.openpty()

    def work() -> None:
        with (
            patch.dict(os.environ, environment(TERM="xterm", **env), clear=True),
            open(side, "w", closefd=False) as stream,
            redirect_stdout(stream),
            suppress(SystemExit),
        ):
            main(list(arguments))

    in_child(work)
    os.close(side)
    output = b""
    try:
        while data := os.read(terminal, 65_536):
            output += data
    except OSError:  # Linux: no process has the other side open (EIO)
        pass
    os.close(terminal)
    return output.decode()


def without(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command where a package is not installed."""
    program = (
        f"import sys; sys.modules[{module!r}] = None; from avatar_telemetry.cli import main;"
        f" main({list(arguments)!r})"
    )
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment(),
        timeout=DEADLINE,
    )  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples(name: str) -> None:
    """``--help`` says what a command does and shows how it is used."""
    help_text = group.commands[name].help or ""
    assert "Examples:" in help_text
    assert f"avatar-telemetry {name}" in help_text


def test_help_lists_every_command() -> None:
    """Without a command the help is shown, with all commands."""
    shown = run("--help")
    assert shown.status == 0
    assert all(name in shown.out for name in COMMANDS)
    assert invoke().status == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["nothing"], "No such command 'nothing'", id="command"),
        pytest.param(["doctor", "--nothing"], "No such option", id="option"),
        pytest.param(["routes"], "Missing argument", id="argument"),
        pytest.param(["routes", "no-slash"], "does not begin with /", id="path"),
        pytest.param(["routes", "/", "--profile", "no.such:PROFILE"], "PROFILE", id="profile"),
        pytest.param(["metrics", "/no/such/folder"], "PROMETHEUS_MULTIPROC_DIR", id="folder"),
        pytest.param(
            ["top", "http://127.0.0.1:1", "--once"], "is the server running", id="refused"
        ),
        pytest.param(["top", "ftp://a-host", "--once"], "http or https URL", id="scheme"),
        pytest.param(["top", "127.0.0.1:8000", "--once"], "http or https URL", id="no-scheme"),
        pytest.param(["top", "http://a:b@127.0.0.1:1", "--once"], "without user name", id="user"),
        pytest.param(["settings", "no-such-word"], "no setting has", id="word"),
    ],
)
def test_errors_are_one_line(arguments: list[str], words: str) -> None:
    """An error is one line on the standard error that says what is wrong, and the status is 2."""
    ran = invoke(*arguments)
    assert ran.status == 2
    assert words in ran.err
    assert ran.err.startswith("avatar-telemetry: ")
    lines = ran.err.strip().splitlines()
    assert len(lines) == (2 if "cannot be used" in lines[0] else 1)


def test_a_settings_fault_stops_with_its_message() -> None:
    """A command that needs the settings names every bad variable."""
    ran = invoke("routes", "/", AVATAR_TELEMETRY_PRIVACY="none", AVATAR_TELEMETRY_SIZES="x")
    assert ran.status == 2
    assert "AVATAR_TELEMETRY_PRIVACY='none'" in ran.err
    assert "AVATAR_TELEMETRY_SIZES='x'" in ran.err


def test_colour_is_for_terminals_only() -> None:
    """Escape sequences go to a terminal, not to a pipe, and not where NO_COLOR is set."""
    assert "\x1b[" in on_a_terminal("routes", "/stats/")
    assert "\x1b[" not in on_a_terminal("routes", "/stats/", NO_COLOR="1")
    assert "\x1b[" not in invoke("routes", "/stats/").out


@pytest.mark.parametrize(
    "arguments",
    by_default("live", [
        pytest.param(("top",), id="live"), pytest.param(("top", "--once"), id="once"),
    ]),
)  # fmt: skip
def test_top_says_what_it_needs(arguments: tuple[str, ...]) -> None:
    """Without the extra ``top`` ends with one line that names it."""
    ended = without("rich", *arguments)
    assert ended.returncode == 2
    assert "pip install 'avatar-telemetry[cli]'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_all_but_top_work_without_the_extra() -> None:
    """The other commands need no rich."""
    ended = without("rich", "check-config")
    assert ended.returncode == 0, ended.stderr


def test_a_reader_may_go(tmp_path: Path) -> None:
    """A reader that closes its pipe early is no error."""
    process = subprocess.Popen(
        command("settings", "--markdown"), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment(),
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
    process.wait(DEADLINE)


def test_shells_complete_it() -> None:
    """bash is given a completion, and completion knows the commands."""
    script = invoke(_AVATAR_TELEMETRY_COMPLETE="bash_source")
    assert "complete" in script.out
    told = invoke(
        _AVATAR_TELEMETRY_COMPLETE="bash_complete", COMP_WORDS="avatar-telemetry do", COMP_CWORD="1"
    )
    assert "doctor" in told.out
