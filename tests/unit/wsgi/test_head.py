"""The head of a response: which of its headers are kept, and what a second head replaces."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from avatar_telemetry.wsgi import head
from avatar_telemetry.wsgi.head import MAX_NAMES, observe_head


def request_of(method: str = "GET") -> Any:
    return SimpleNamespace(method=method)


def test_a_head_is_kept() -> None:
    """Status, type, length and location, whatever case their names are in."""
    request = request_of()
    headers = [
        ("CONTENT-TYPE", "image/png"), ("content-length", "12"), ("Location", "/x"), ("X-Y", "z"),
    ]  # fmt: skip
    observe_head(request, "302 Found", headers)
    assert (request.status, request.content_type, request.location) == ("302", "image/png", "/x")
    assert (request.announced, request.unsent) == (12, 12)
    assert request.response_headers is headers


def test_a_later_head_replaces_all_of_an_earlier_one() -> None:
    """An error page in place of an answer: what only the first head had is gone."""
    request = request_of()
    first = [("Content-Type", "image/png"), ("Content-Length", "1000"), ("Location", "/x")]
    observe_head(request, "302 Found", first)
    observe_head(request, "500 Oh", [])
    assert (request.status, request.content_type, request.location) == ("500", "", "")
    assert (request.announced, request.unsent) == (None, 0)


def test_no_body_is_awaited_for_head() -> None:
    """The length of an answer to HEAD is that of a body that does not come (RFC 9110)."""
    request = request_of("HEAD")
    observe_head(request, "200 OK", [("Content-Length", "12")])
    assert (request.announced, request.unsent) == (12, 0)


@pytest.mark.parametrize("value", ["", "-1", "1.5", "many", "0x10"])
def test_a_length_that_is_no_number_is_none(value: str) -> None:
    """An application may send what it likes; the end is then the end of the body."""
    request = request_of()
    observe_head(request, "200 OK", [("Content-Length", value)])
    assert (request.announced, request.unsent) == (None, 0)


def test_names_are_kept_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """An application that invents header names fills no memory, and known names go on to count."""
    monkeypatch.setattr(head, "_MEANINGS", {})
    for number in range(2 * MAX_NAMES):
        observe_head(request_of(), "200 OK", [(f"X-{number}", "")])
    assert len(head._MEANINGS) == MAX_NAMES
    request = request_of()
    observe_head(request, "200 OK", [("Content-Type", "image/png")])
    assert request.content_type == "image/png"


def test_status_lines_are_kept_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """An application that invents reasons fills no memory, and each status is still read."""
    monkeypatch.setattr(head, "_CODES", {})
    request = request_of()
    for number in range(2 * MAX_NAMES):
        observe_head(request, f"404 {number}", [])
        assert request.status == "404"
    assert len(head._CODES) == MAX_NAMES
