"""The first code of the exporter's process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from avatar_telemetry.exporter import bootstrap
from avatar_telemetry.exporter.record import PACKAGE
from tests.support.forked import in_child


def test_nothing_inherited_stays_open(tmp_path: Path) -> None:
    """All descriptors are closed but the standard ones and the lock; standard input is empty."""

    def work() -> list[object]:
        lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
        other = socket.create_server(("127.0.0.1", 0))
        other.set_inheritable(True)
        high = os.dup2(lock, 900)
        report = os.dup(1)
        bootstrap.close_inherited(lock)
        left = []
        for number in (lock, other.fileno(), high, report, 0, 1, 2):
            try:
                os.fstat(number)
                left.append(number)
            except OSError:
                continue
        wanted = left == [lock, 0, 1, 2] and os.read(0, 1) == b""
        (tmp_path / "result").write_text(str(wanted))
        return []

    with pytest.raises(AssertionError):  # the pipe of the child's report is closed, too
        in_child(work)
    assert (tmp_path / "result").read_text() == "True"


def test_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the open descriptors cannot be listed all numbers are tried, within reason."""

    def fail(path: str) -> list[str]:
        raise FileNotFoundError(path)

    monkeypatch.setattr(os, "listdir", fail)
    monkeypatch.setattr(os, "sysconf", lambda name: 1 << 30)
    assert bootstrap._open_descriptors() == list(range(65_536))


def test_import_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The application's folder comes last: a module of its may have the name of a library."""
    monkeypatch.chdir(tmp_path)
    server = ["", str(tmp_path), "/usr/lib", f"{tmp_path}/lib", "."]
    assert bootstrap.import_path(server) == ["/usr/lib", f"{tmp_path}/lib", str(tmp_path)]


LOAD = """
import runpy, sys
names = runpy.run_path({bootstrap!r})
names["load_package"]({package!r})
import avatar_telemetry._base.version
print(avatar_telemetry._base.version.__file__, "avatar_telemetry.runtime.instrument" in sys.modules)
"""


def test_the_very_package_of_the_server(tmp_path: Path) -> None:
    """It is imported from its folder, whatever else has that name; what serves requests is not."""
    (tmp_path / "avatar_telemetry.py").write_text("raise SystemExit('the wrong one')")
    code = LOAD.format(bootstrap=bootstrap.__file__, package=PACKAGE)
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert ran.stdout.split() == [f"{PACKAGE}/_base/version.py", "False"]
