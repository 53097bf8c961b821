"""Completion: what the shell is given for the text before the cursor."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from avatar_telemetry.cli.command import COMPLETION
from tests.support.requirements import unavailable
from tests.support.running import DEADLINE, environment, invoke

DIGEST = "0bc83cb571cd1c50ba6f3e8a78ef1346"


def complete(line: str, shell: str = "bash", **env: str) -> list[str]:
    """The items for a line whose last word is to be completed, each with its type."""
    words = line.split(" ")
    ran = invoke(
        _AVATAR_TELEMETRY_COMPLETE=f"{shell}_complete", COMP_WORDS=f"avatar-telemetry {line}",
        COMP_CWORD=str(len(words) if shell != "fish" else words[-1]), **env,
    )  # fmt: skip
    assert ran.err == ""
    return list(filter(None, ran.out.splitlines()))


@pytest.mark.parametrize(
    ("line", "items"),
    [
        pytest.param("che", ["check-config"], id="command"),
        pytest.param("--ver", ["--version"], id="option of all"),
        pytest.param("doctor --no", ["--no-send"], id="option"),
        pytest.param("routes --privacy s", ["strict"], id="choice"),
        pytest.param("profile --format sp", ["speedscope"], id="format"),
        pytest.param("routes --profile g", ["generic"], id="profile"),
        pytest.param("settings avatar_telemetry_priv", ["AVATAR_TELEMETRY_PRIVACY"], id="setting"),
        pytest.param("routes /avatar/0", [f"/avatar/{DIGEST}"], id="route with a placeholder"),
        pytest.param("routes / /accounts/logo", ["/accounts/logout/"], id="second route"),
        pytest.param("routes --generator pag", ["pagan:Avatar"], id="generator"),
        pytest.param("routes --profile generic /a", [], id="route of another profile"),
        pytest.param("nothing --x", [], id="unknown command"),
    ],
)
def test_items(line: str, items: list[str]) -> None:
    """Commands, options, values, settings, profiles and routes are completed."""
    assert complete(line) == [f"plain,{item}" for item in items]


def test_runtime_directories(tmp_path: Path) -> None:
    """Without a running server of this name the shell completes directories."""
    assert complete(f"metrics {tmp_path}/") == [f"dir,{tmp_path}/"]


def test_a_bad_profile_has_no_routes() -> None:
    """A profile that cannot be loaded completes nothing, and prints nothing over the line."""
    assert complete("routes /", AVATAR_TELEMETRY_PROFILE="no.such:PROFILE") == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_descriptions(shell: str) -> None:
    """Shells that show descriptions get the summary of a command and the meaning of a setting."""
    assert "Diagnose the settings and a running server." in "\n".join(complete("doc", shell))
    assert "How much client data" in "\n".join(complete("settings AVATAR_TELEMETRY_PRIV", shell))


# Each shell evaluates its line of the help, then completes "avatar-telemetry profile --form".
SHELLS = {
    "bash": ["bash", "--norc", "-c", """
        %s
        COMP_WORDS=(avatar-telemetry profile --form) COMP_CWORD=2
        _avatar_telemetry_completion avatar-telemetry
        printf '%%s\\n' "${COMPREPLY[@]}"
    """],
    "zsh": ["zsh", "-f", "-c", """
        autoload -U compinit && compinit -D -u
        %s
        _describe() { print -l -- ${(P)3} }
        words=(avatar-telemetry profile --form) CURRENT=3
        _avatar_telemetry_completion
    """],
    "fish": ["fish", "--no-config", "-c", """
        %s
        complete -C "avatar-telemetry profile --form"
    """],
}  # fmt: skip


def test_each_shell_has_a_line_to_copy() -> None:
    """In a terminal of 80 columns, the help has one unbroken line for each shell."""
    lines = invoke("--help", COLUMNS="80").out.splitlines()
    for shell in SHELLS:
        (line,) = (each.strip() for each in lines if each.strip().startswith(f"{shell} "))
        assert line in COMPLETION
        assert f"{shell}_source avatar-telemetry" in line


@pytest.mark.parametrize(
    "shell",
    [
        "bash",
        pytest.param("zsh", marks=pytest.mark.slow),
        pytest.param("fish", marks=pytest.mark.slow),
    ],
)
def test_real_shells(shell: str, tmp_path: Path) -> None:
    """The line of the help makes the shell complete an option of a command."""
    if not shutil.which(shell):
        unavailable(f"{shell} is not installed")
    (line,) = (
        each.split(maxsplit=1)[1] for each in COMPLETION.splitlines() if f"  {shell} " in each
    )
    program, *options, script = SHELLS[shell]
    path = os.pathsep.join((sysconfig.get_path("scripts"), os.environ["PATH"]))
    ended = subprocess.run(
        [program, *options, script % line], capture_output=True, text=True, timeout=DEADLINE,
        env=environment(PATH=path, HOME=str(tmp_path)), cwd=tmp_path,
    )  # fmt: skip
    assert "--format" in ended.stdout, ended.stderr
