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

from avatar_telemetry.cli import REQUIRED
from avatar_telemetry.cli.command import COMMANDS, main
from tests.support.forked import in_child
from tests.support.running import DEADLINE, command, environment, invoke


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


# Everything that the help may import: click, and of this package what names the commands.
HELP = """
import sys
before = set(sys.modules)
from avatar_telemetry.cli import main
try:
    main(["--help"])
finally:
    print(*{name.partition(".")[0] for name in set(sys.modules) - before}, file=sys.stderr)
    print(*(name for name in sys.modules if name.startswith("avatar_telemetry")), file=sys.stderr)
"""


def test_help_imports_click_alone() -> None:
    """The help imports neither the SDK, prometheus_client nor Textual, nor any command."""
    ended = subprocess.run(
        [sys.executable, "-c", HELP], capture_output=True, text=True, env=environment(), check=True
    )
    packages, own = (set(line.split()) for line in ended.stderr.splitlines())
    assert packages - sys.stdlib_module_names <= {"click", "avatar_telemetry"}
    ours = ("", "._base", "._base.errors", ".cli", ".cli.command")
    assert own == {f"avatar_telemetry{name}" for name in ours}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples(name: str) -> None:
    """``--help`` shows what a command does and how it is used."""
    ran = invoke(name, "--help")
    assert ran.status == 0
    assert f"Examples:\n    avatar-telemetry {name}" in ran.out


def test_help_lists_every_command() -> None:
    """Without a command the help is shown, with all commands."""
    shown = invoke("--help")
    assert shown.status == 0
    assert all(f"  {name} " in shown.out for name in COMMANDS)
    assert invoke().status == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("nothing", "No such command 'nothing'"),
        ("doctor --nothing", "No such option"),
        ("routes", "Missing argument"),
        ("routes no-slash", "does not begin with /"),
        ("routes / --profile no.such:PROFILE", "PROFILE"),
        ("metrics /no/such/folder", "/no/such/folder does not exist: a server that ends removes"),
        ("metrics /dev/null", "/dev/null cannot be read: Not a directory"),
        ("top http://127.0.0.1:1 --once", "check that the server runs"),
        ("top ftp://a-host --once", "http or https URL"),
        ("settings no-such-word", "no setting has"),
    ],
)
def test_errors_are_one_line(arguments: str, words: str) -> None:
    """An error is one line on the standard error with the cause, and the status is 2."""
    ran = invoke(*arguments.split())
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


@pytest.mark.parametrize("package", REQUIRED)
def test_without_the_extra_the_command_names_it(package: str) -> None:
    """Where a package of the extra is missing, the output is one line that names both."""
    ended = without(package, "check-config")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        f"avatar-telemetry: {package} not installed; pip install 'avatar-telemetry[cli]'\n"
    )


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
    ran = invoke(
        _AVATAR_TELEMETRY_COMPLETE="bash_complete", COMP_WORDS="avatar-telemetry do", COMP_CWORD="1"
    )
    assert "doctor" in ran.out
