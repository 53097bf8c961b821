"""Fixtures of the tests of the command; a folder's ``conftest.py`` imports them."""

from __future__ import annotations

import os

import pytest

from tests.support.running import FOREIGN


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs in this process sees no setting but those of its test."""
    for name in list(os.environ):
        if name.startswith(FOREIGN):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOSTNAME", "a-host")
