"""The head of a response: which of its headers are kept."""

from __future__ import annotations

import pytest

from avatar_telemetry.wsgi import head
from avatar_telemetry.wsgi.head import MAX_NAMES, observe_head


def test_a_head_is_kept() -> None:
    """Status, type, location and length, whatever case their names are in."""
    headers = [
        ("CONTENT-TYPE", "image/png"), ("content-length", "12"), ("Location", "/x"), ("X-Y", "z"),
    ]  # fmt: skip
    assert observe_head("302 Found", headers) == ("302", "image/png", "/x", "12")
    assert observe_head("500 Oh", []) == ("500", "", "", "")


def test_names_are_kept_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """An application that invents header names fills no memory, and known names go on to count."""
    monkeypatch.setattr(head, "_MEANINGS", {})
    for number in range(2 * MAX_NAMES):
        observe_head("200 OK", [(f"X-{number}", "")])
    assert len(head._MEANINGS) == MAX_NAMES
    assert observe_head("200 OK", [("Content-Type", "image/png")])[1] == "image/png"


def test_status_lines_are_kept_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """An application that invents reasons fills no memory, and each status is still read."""
    monkeypatch.setattr(head, "_CODES", {})
    for number in range(2 * MAX_NAMES):
        assert observe_head(f"404 {number}", [])[0] == "404"
    assert len(head._CODES) == MAX_NAMES
