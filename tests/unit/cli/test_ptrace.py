"""The right to read another process: the cause of a refusal, and its fix."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from avatar_telemetry.cli import ptrace
from avatar_telemetry.cli.ptrace import Rights, may_read, missing_right, read_rights
from tests.support.forked import in_child
from tests.support.privileges import NOBODY

SAME = Rights(user=1000, owner=1000, capable=False, scope=0, filtered=False)
ROOT = replace(SAME, user=0)


@pytest.mark.parametrize(
    ("rights", "words"),
    [
        pytest.param(replace(ROOT, capable=True, scope=3), "until the machine restarts", id="3"),
        pytest.param(replace(ROOT, capable=True, filtered=True), "seccomp profile", id="seccomp"),
        pytest.param(replace(ROOT, capable=True), "AppArmor", id="security module"),
        pytest.param(ROOT, "docker run --cap-add SYS_PTRACE", id="root of a container"),
        pytest.param(replace(SAME, owner=33), "belongs to user 33", id="another user"),
        pytest.param(replace(SAME, scope=1), "sysctl kernel.yama.ptrace_scope=0", id="1"),
        pytest.param(replace(SAME, scope=2), "ptrace_scope=2 allows it to CAP_SYS_PTRACE", id="2"),
        pytest.param(replace(SAME, filtered=True), "seccomp profile", id="seccomp of a user"),
        pytest.param(SAME, "setting user", id="not dumpable"),
    ],
)
def test_causes(rights: Rights, words: str) -> None:
    """Each cause is named, with its fix, on one line."""
    text = missing_right(rights)
    assert words in text
    assert "\n" not in text


def test_this_process() -> None:
    """A process may read itself; the facts about it are those of the kernel."""
    assert may_read(os.getpid())
    found = read_rights(os.getpid())
    assert (found.user, found.owner) == (os.geteuid(), os.getuid())


def test_scope_of_yama(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scope is read from the file of the kernel; it is 0 without Yama."""
    scope = tmp_path / "ptrace_scope"
    monkeypatch.setattr(ptrace, "SCOPE", scope)
    assert read_rights(os.getpid()).scope == 0
    scope.write_text("3\n")
    rights = read_rights(os.getpid())
    assert rights.scope == 3
    assert "until the machine restarts" in missing_right(rights)


def test_a_process_that_has_ended() -> None:
    """A worker that has ended meanwhile is no missing right."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with pytest.raises(ProcessLookupError):
        may_read(process.pid)
    with pytest.raises(ProcessLookupError):
        read_rights(process.pid)


@pytest.mark.usefixtures("as_root")
def test_another_user_may_not() -> None:
    """The kernel refuses the memory of another user's process, and the cause is the user."""
    target = os.getpid()

    def ask() -> list[bool | str]:
        os.setgroups([])
        os.setgid(NOBODY.pw_gid)
        os.setuid(NOBODY.pw_uid)
        return [may_read(target), missing_right(read_rights(target))]

    allowed, cause = in_child(ask)
    assert not allowed
    assert cause.startswith(f"it belongs to user 0, this command runs as user {NOBODY.pw_uid}")
