"""What builds the servers: once for a machine, whole or not at all, and it says what it needs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support import build_servers
from tests.support.waiting import DEADLINE


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return build_servers.cache_folder()


def test_two_builders_at_once_build_once(cache: Path) -> None:
    """The second waits for the first, and finds its program."""
    both, second = threading.Barrier(2), threading.Event()
    made = []

    def make(folder: Path) -> None:
        made.append(folder)
        if len(made) == 2:
            second.set()
        second.wait(0.5)  # another that is let in gets here meanwhile
        (folder / "server").write_text("whole")

    def build() -> str:
        both.wait(DEADLINE)
        build_servers.build(cache / "server-v1" / "server", make)
        return (cache / "server-v1" / "server").read_text()

    with ThreadPoolExecutor(2) as pool:
        builders = [pool.submit(build) for _ in range(2)]
        assert [each.result(DEADLINE) for each in builders] == ["whole"] * 2
    assert len(made) == 1


def test_a_build_that_fails_leaves_nothing(cache: Path) -> None:
    """Half a program is never found under the final name, nor is anything else left."""

    def make(folder: Path) -> None:
        (folder / "server").write_text("half")
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        build_servers.build(cache / "server-v1" / "server", make)
    assert [path.name for path in cache.iterdir()] == ["lock"]


@pytest.mark.parametrize(
    ("version", "complaint"),
    [
        pytest.param(None, "there is no 'go' on the path", id="none"),
        pytest.param("go version go1.19.8 linux/amd64", "this is 'go version go1.19.8", id="old"),
        pytest.param("what?", "this is 'what?'", id="another"),
    ],
)
def test_go_is_asked_for(cache: Path, tmp_path: Path, version: str | None, complaint: str) -> None:
    """Without a Go that can build, it ends with one line that says which is needed."""
    if version is not None:
        (tmp_path / "go").write_text(f"#!/bin/sh\necho '{version}'\n")
        (tmp_path / "go").chmod(0o755)
    done = subprocess.run(
        [sys.executable, build_servers.__file__, "otelcol"], capture_output=True, text=True,
        env={**os.environ, "PATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 1
    assert "needs Go 1.21 or newer (https://go.dev/dl/)" in done.stderr
    assert complaint in done.stderr and len(done.stderr.splitlines()) == 1


def test_an_unknown_name_is_refused() -> None:
    """The message names what can be built."""
    command = [sys.executable, build_servers.__file__, "grafana"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    known = "prometheus, operator-schemas, otelcol, promtool"
    assert done.stderr == f"unknown: grafana; known: {known}\n"


def test_another_list_of_modules_is_another_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector that was built of other modules is not taken for this one."""
    before = build_servers.otelcol()
    monkeypatch.setitem(build_servers.MODULES, "connectors", [])
    assert build_servers.otelcol() != before
