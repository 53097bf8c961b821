"""A ring between two real processes that are killed at random."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.ring_processes import Killing


@pytest.mark.parametrize("checksum", [False, True], ids=["plain", "checksum"])
@pytest.mark.parametrize(
    "seconds",
    [pytest.param(3.0, id="short"), pytest.param(60.0, marks=pytest.mark.slow, id="long")],
)
def test_kills_lose_no_frame_that_was_put(tmp_path: Path, seconds: float, checksum: bool) -> None:
    """At full speed, in order; only the batch that a killed reader was at is read twice."""
    killing = Killing(tmp_path, checksum)
    killing.run(seconds)
    killing.finish()
    killing.check()
    assert len(killing.put) > 5
    assert len(killing.readers) > 5
    assert sum(killing.put) > 1000
    assert killing.repeated <= len(killing.readers)
    assert set(os.listdir(tmp_path)) == {"spans-0.ring"}
