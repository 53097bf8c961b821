"""Originals of what gevent patches, each in an interpreter of its own."""

from __future__ import annotations

import subprocess
import sys

from tests.support.requirements import require

PLAIN = """
import os
from avatar_telemetry._base.native import original, uses_greenlets
assert original("os", "waitpid") is os.waitpid
assert uses_greenlets() is False
"""
PATCHED = """
import _thread, time
from gevent import monkey
from avatar_telemetry._base.native import original, uses_greenlets
native = _thread.start_new_thread
assert uses_greenlets() is False
monkey.patch_all()
assert uses_greenlets() is True
assert original("_thread", "start_new_thread") is native is not _thread.start_new_thread
assert original("time", "time") is time.time
"""


def test_without_gevent() -> None:
    """Everything is its own original."""
    subprocess.run([sys.executable, "-c", PLAIN], check=True)


def test_with_gevent() -> None:
    """A name that gevent has patched is found as it was, any other as it is."""
    require("gevent")
    subprocess.run([sys.executable, "-c", PATCHED], check=True)
