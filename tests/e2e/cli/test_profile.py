"""``profile`` with a real server and the real py-spy."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from avatar_telemetry._base.errors import AvatarTelemetryError
from avatar_telemetry.cli.flamegraph import parse_collapsed
from avatar_telemetry.cli.profile import _find_program
from avatar_telemetry.cli.ptrace import may_read
from avatar_telemetry.metrics.slots import holders
from tests.support.requirements import unavailable
from tests.support.running import DemoServer, invoke

ACCEPT = "gunicorn/workers/sync.py"


@pytest.fixture(autouse=True)
def sampler(demo_server: DemoServer) -> None:
    """py-spy is installed, and may read the workers."""
    try:
        _find_program()
    except AvatarTelemetryError as error:
        unavailable(str(error))
    if not all(may_read(each.pid) for each in holders(demo_server.runtime)):
        unavailable("this user may not read the memory of other processes (ptrace)")


def test_all_workers_are_sampled(demo_server: DemoServer, tmp_path: Path) -> None:
    """The picture has the frames of the workers, which wait for connections; none is disturbed."""
    before = holders(demo_server.runtime)
    picture = tmp_path / "profile.svg"
    ran = invoke(
        "profile", demo_server.runtime, "--seconds", 2, "--rate", 20, "--idle", "--out", picture
    )
    assert ran.status == 0, ran.err
    assert ran.err.startswith(f"Sampling 2 workers of {demo_server.runtime} for 2 s.")
    titles = [str(each.text) for each in ElementTree.parse(picture).iter() if "title" in each.tag]
    assert titles[0].startswith("all workers: ")
    assert any(ACCEPT in title for title in titles)
    assert holders(demo_server.runtime) == before


def test_stacks_as_lines(demo_server: DemoServer) -> None:
    """On the standard output, each line is a stack from gunicorn's start to the waiting call."""
    ran = invoke(
        "profile", "--seconds", 2, "--rate", 20, "--idle", "--format", "collapsed", "--out", "-",
        PROMETHEUS_MULTIPROC_DIR=str(demo_server.runtime),
    )  # fmt: skip
    assert ran.status == 0, ran.err
    stacks = parse_collapsed(ran.out)
    assert stacks
    assert all(any(ACCEPT in frame for frame in stack) for stack in stacks)
