"""Fixtures of the tests of the command; a folder's ``conftest.py`` imports them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from avatar_telemetry.cli import check_config, web
from avatar_telemetry.cli.checks import host
from tests.support.running import DEADLINE, FOREIGN


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove settings from the environment of this process, lengthen its time-outs, and hide the
    configuration of the host's cleaners, which the doctor reads."""
    for name in list(os.environ):
        if name.startswith(FOREIGN):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOSTNAME", "a-host")
    monkeypatch.setattr(host, "ROOT", Path("/no/such/host"))
    for command in (check_config, web):
        monkeypatch.setattr(command, "TIMEOUT", DEADLINE)
