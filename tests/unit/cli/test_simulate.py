"""The tally of a simulation."""

from __future__ import annotations

import pytest

from avatar_telemetry.cli.simulate import GIVE_UP, Tally, _share


def test_rows_by_action() -> None:
    """Each action has its statuses and times; a request without an answer is ``none``."""
    tally = Tally()
    for number in range(1, 101):
        tally.tell("page", 0 if number == 100 else 200, number / 100)
    tally.tell("avatar", 404, 1.0)
    avatar, page = tally.rows()
    assert avatar == {
        "action": "avatar", "requests": 1, "statuses": {"404": 1},
        "p50_seconds": 1.0, "p95_seconds": 1.0,
    }  # fmt: skip
    assert page["statuses"] == {"none": 1, "200": 99}
    assert (page["requests"], page["p50_seconds"], page["p95_seconds"]) == (100, 0.51, 0.96)
    assert tally.sent == 101


def test_server_that_is_away_stops_all() -> None:
    """Only requests without an answer in a row end the simulation."""
    tally = Tally()
    for status in [*[0] * (GIVE_UP - 1), 500, *[0] * (GIVE_UP - 1)]:
        tally.tell("page", status, 0.0)
        assert not tally.stopped.is_set()
    tally.tell("avatar", 0, 0.0)
    assert tally.stopped.is_set()


@pytest.mark.parametrize(("requests", "visitors"), [(0, 1), (1, 4), (4, 4), (10, 3), (1000, 64)])
def test_shares_add_up(requests: int, visitors: int) -> None:
    """The visitors send as many requests together as were asked for, none many more."""
    shares = [_share(requests, visitors, number) for number in range(visitors)]
    assert sum(shares) == requests
    assert max(shares) - min(shares) <= 1
