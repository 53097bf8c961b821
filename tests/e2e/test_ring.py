"""A ring between two real processes that are killed at random."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.ring_processes import Killing


@pytest.mark.parametrize("checksum", [False, True], ids=["plain", "checksum"])
@pytest.mark.parametrize(
    "kills",
    [pytest.param(40, id="few"), pytest.param(800, marks=pytest.mark.slow, id="many")],
)
def test_kills_lose_no_frame_that_was_put(tmp_path: Path, kills: int, checksum: bool) -> None:
    """At full speed, in order; only the batch that a killed reader was at is read twice."""
    killing = Killing(tmp_path, checksum)
    killing.run(kills)
    killing.finish()
    killing.check()
    assert len(killing.put) > kills / 2 < len(killing.readers)
    assert sum(killing.put) > 1000
    assert killing.repeated <= len(killing.readers)
    assert set(os.listdir(tmp_path)) == {"spans-0.ring"}
