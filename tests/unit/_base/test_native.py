"""Originals of what gevent patches, in a process with and without its patches."""

from __future__ import annotations

import subprocess
import sys

import pytest

from avatar_telemetry._base.native import original, uses_greenlets
from tests.support.requirements import require

PATCHED = """
from gevent import monkey
from avatar_telemetry._base.native import original, uses_greenlets
import _thread, time
before = uses_greenlets()
native = _thread.start_new_thread
monkey.patch_all()
assert (before, uses_greenlets()) == (False, True)
assert original("_thread", "start_new_thread") is native is not _thread.start_new_thread
assert original("time", "time") is time.time
"""


def test_without_gevent() -> None:
    """Everything is its own original."""
    if "gevent.monkey" in sys.modules:
        pytest.skip("another test has imported gevent")
    import os

    assert original("os", "waitpid") is os.waitpid
    assert uses_greenlets() is False


def test_with_gevent() -> None:
    """What gevent has patched is found as it was, and the rest as it is."""
    require("gevent")
    subprocess.run([sys.executable, "-c", PATCHED], check=True)
