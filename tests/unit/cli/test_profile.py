"""``profile``: errors before and after the sampling; e2e tests sample real workers."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from avatar_telemetry.cli import profile as command
from avatar_telemetry.cli.profile import ProfileError, sample
from avatar_telemetry.cli.ptrace import Rights
from avatar_telemetry.metrics.slots import claim_slot
from tests.support.running import invoke
from tests.support.waiting import eventually

SAMPLER = """#!/bin/sh
while [ "$1" ]; do case $1 in --pid) pid=$2;; --output) file=$2;; esac; shift; done
[ $pid = 2 ] && { printf 'Error: No such process\\n\\nStack backtrace:\\n 0: x' >&2; exit 1; }
[ $pid = 3 ] && { echo 'Error: Permission Denied' >&2; exit 1; }
[ $pid = 5 ] && exit 1
echo 'outer (a.py:1);inner (a.py:5) 2' > "$file"
"""

UNTIL_INTERRUPTED = """#!/bin/sh
while [ "$1" ]; do case $1 in --output) file=$2;; esac; shift; done
trap 'echo "outer (a.py:1);inner (a.py:5) 2" > "$file"; exit' INT
: > {ready}
while :; do sleep 0.05; done
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A program that accepts the options of py-spy."""
    path = tmp_path / "bin/py-spy"
    path.parent.mkdir()
    path.write_text(SAMPLER)
    path.chmod(0o755)
    monkeypatch.setattr(command, "_find_program", lambda: str(path))
    return str(path)


def test_workers_are_added_up(program: str) -> None:
    """The stacks of all workers are one profile; one that ends meanwhile is left out."""
    assert sample(program, [1, 2, 4], 1) == {("outer (a.py:1)", "inner (a.py:5)"): 4}


@pytest.mark.parametrize(
    ("pid", "words"),
    [
        pytest.param(2, "py-spy cannot sample process 2: No such process$", id="ended"),
        pytest.param(3, "no right to read process 3: ", id="denied"),
        pytest.param(5, "py-spy cannot sample process 5: it gave no reason$", id="no reason"),
    ],
)
def test_no_worker_can_be_sampled(
    program: str, pid: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no worker was sampled, the cause of the first one is the error."""
    rights = Rights(user=1000, owner=0, capable=False, scope=0, filtered=False)
    monkeypatch.setattr(command, "read_rights", lambda pid: rights)
    with pytest.raises(ProfileError, match=words):
        sample(program, [pid], 1)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Path]:
    """A directory with one slot that this process holds."""
    folder = tmp_path / "runtime"
    folder.mkdir()
    slot = claim_slot(folder)
    yield folder
    slot.close()


def test_formats(program: str, served: Path, tmp_path: Path) -> None:
    """Each format has its file; - is the standard output, and messages go to the standard error."""
    ran = invoke("profile", served, "--seconds", 1, "--out", tmp_path / "p.svg")
    assert (ran.status, ran.out) == (0, "")
    assert "<title>inner (a.py:5): 2 samples" in (tmp_path / "p.svg").read_text()
    assert ran.err.splitlines() == [
        f"Sampling 1 worker of {served} for 1 s.",
        f"2 samples written to {tmp_path}/p.svg.",
    ]
    ran = invoke("profile", served, "-s", 1, "--format", "collapsed", "-o", "-")
    assert ran.out == "outer (a.py:1);inner (a.py:5) 2\n"
    ran = invoke("profile", served, "-s", 1, "--format", "speedscope", "-o", "-")
    assert ran.json()["profiles"][0]["weights"] == [0.02]


def test_nothing_was_sampled(program: str, served: Path, tmp_path: Path) -> None:
    """Without a sample the option that shows waiting threads is named."""
    Path(program).write_text(SAMPLER.replace("echo 'outer", ": 'outer"))
    ran = invoke("profile", served, "--out", tmp_path / "p.svg")
    assert ran.status == 0
    assert "0 samples written" in ran.err and "--idle" in ran.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["/no/such/folder"], "cannot be read", id="no folder"),
        pytest.param(["{folder}"], "no worker runs in", id="no worker"),
        pytest.param(
            ["{folder}", "--out", "/no/such/folder/x"], "No such file", id="no out folder"
        ),
        pytest.param(["{folder}", "--out", "{folder}/bin/py-spy/x"], "Not a dir", id="out in file"),
        pytest.param(
            ["{folder}", "--out", "{folder}/broken"], "cannot be written", id="broken out"
        ),
    ],
)
def test_errors(program: str, tmp_path: Path, arguments: list[str], words: str) -> None:
    """An error is reported before anything is sampled, on one line with status 2."""
    (tmp_path / "broken").symlink_to("/no/such/folder/x")  # in a folder that can be written
    ran = invoke("profile", *(each.format(folder=tmp_path) for each in arguments))
    assert (ran.status, ran.out) == (2, "")
    assert words in ran.err
    assert len(ran.err.splitlines()) == 1


def test_target_is_left_as_it_is(program: str, tmp_path: Path) -> None:
    """The check of the file neither creates nor empties it."""
    old = tmp_path / "old.svg"
    old.write_text("kept")
    for name in ("old.svg", "new.svg"):
        assert invoke("profile", tmp_path, "--out", tmp_path / name).status == 2  # no worker runs
    assert old.read_text() == "kept"
    assert not (tmp_path / "new.svg").exists()


def test_a_worker_that_ends_after_the_refusal(program: str) -> None:
    """Without facts about a process that has ended, py-spy's own line is the cause."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    cause = command._explain(process.pid, "Error: Permission Denied")
    assert cause == f"py-spy cannot sample process {process.pid}: Permission Denied"


def test_interrupt(
    program: str, served: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C ends the sampling, and writes what was sampled, with the measured time."""
    picture, ready = tmp_path / "p.svg", tmp_path / "ready"
    Path(program).write_text(UNTIL_INTERRUPTED.format(ready=ready))

    class Interrupted(subprocess.Popen[bytes]):
        """A process; Ctrl-C comes while it is waited for the first time."""

        first = True

        def wait(self, timeout: float | None = None) -> int:
            if self.first:
                self.first = False
                eventually(ready.exists)
                raise KeyboardInterrupt
            return super().wait(timeout)

    monkeypatch.setattr(command.subprocess, "Popen", Interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell cannot trap SIG_IGN
    try:
        ran = invoke("profile", served, "--seconds", 3600, "--out", picture)
    finally:
        signal.signal(signal.SIGINT, before)
    assert ran.status == 0, ran.err
    assert ran.err.endswith(f"2 samples written to {picture}.\n")
    assert "a second of each, " in picture.read_text()
    assert "3600 s" not in picture.read_text()


def test_interrupt_at_the_start(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C before all samplers run ends those that do."""
    Path(program).write_text(UNTIL_INTERRUPTED.format(ready=tmp_path / "ready"))
    start = command._start
    started: list[subprocess.Popen[bytes]] = []

    def interrupted(*arguments: Any) -> subprocess.Popen[bytes]:
        if started:
            raise KeyboardInterrupt
        started.append(start(*arguments))
        return started[0]

    monkeypatch.setattr(command, "_start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        sample(program, [1, 2], 3600)
    assert started[0].returncode is not None


def test_py_spy_is_not_installed(served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, the error names it."""
    monkeypatch.setattr(command.shutil, "which", lambda name, path: None)
    ran = invoke("profile", served)
    assert ran.status == 2
    assert "pip install 'avatar-telemetry[profile]'" in ran.err
