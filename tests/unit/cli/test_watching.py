"""``metrics``, ``top`` and ``simulate`` with servers of the tests."""

from __future__ import annotations

from pathlib import Path

from avatar_telemetry.cli.samples import read_samples
from tests.support.running import PageServer, invoke


def test_an_empty_folder_has_a_page(tmp_path: Path) -> None:
    """A folder that no server has used shows no request, and stays empty."""
    ran = invoke("metrics", tmp_path, OTEL_EXPORT_ENABLED="true")
    samples = read_samples(ran.out)
    assert samples is not None
    assert samples.total("ivatar_requests_total") == 0
    assert list(tmp_path.iterdir()) == []


def test_the_same_random_state_sends_the_same() -> None:
    """To the same answers a random state sends the same requests, another one others."""

    def asked(state: int) -> list[tuple[str, str, bytes]]:
        with PageServer() as server:
            invoke("simulate", server.url, "-n", 80, "-c", 1, "--random-state", state)
            return server.asked

    first = asked(31)
    assert len(first) == 80 + 1
    assert asked(31) == first
    assert asked(32) != first


def test_visitors_stay_on_the_server() -> None:
    """Nothing is asked for that makes the server ask others, unless that is wanted."""
    with PageServer() as server:
        invoke("simulate", server.url, "-n", 300)
        assert not [path for _, path, _ in server.asked if "proxy" in path]
        invoke("simulate", server.url, "-n", 300, "--outside")
        assert [path for _, path, _ in server.asked if "gravatarproxy" in path]


def test_top_needs_the_metrics() -> None:
    """Where the page is not shown, one line says who can tell why."""
    with PageServer("Hello") as server:
        ran = invoke("top", server.url, "--once")
    assert ran.status == 2
    assert "avatar-telemetry doctor --url says why" in ran.err
