"""``metrics`` and ``top`` with servers of the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from avatar_telemetry.cli import environment
from avatar_telemetry.cli.samples import read_samples
from avatar_telemetry.metrics.instruments import REQUESTS
from tests.support.recorder import Recorder
from tests.support.running import PageServer, invoke
from tests.support.top_state import page


def test_an_empty_folder_has_no_page(tmp_path: Path) -> None:
    """Where no server runs and none has left metrics, no zeros are shown, and nothing is made."""
    ran = invoke("metrics", tmp_path, OTEL_EXPORT_ENABLED="true")
    assert (ran.status, ran.out) == (2, "")
    assert f"no server uses {tmp_path}, and it has no metrics" in ran.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("user", "advised"), [(0, False), (1000, True)])
def test_no_private_directory(user: int, advised: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a server the DIRECTORY is the advice; another user is not advised to root."""
    monkeypatch.setattr(environment, "served_dirs", list)
    monkeypatch.setattr(environment.os, "geteuid", lambda: user)
    ran = invoke("metrics")
    assert (ran.status, ran.out) == (2, "")
    assert "name its DIRECTORY" in ran.err
    assert ("sudo -u" in ran.err) == advised


def test_the_folder_of_a_killed_server_has_a_page(tmp_path: Path) -> None:
    """The page of a killed server has its last values."""
    recorder = Recorder(tmp_path)
    recorder.metrics.count(REQUESTS, "GET", "200", "/")
    recorder.book.detach()
    samples = read_samples(invoke("metrics", tmp_path).out)
    assert samples is not None
    assert samples.total("ivatar_requests_total") == 1


def test_top_without_a_terminal() -> None:
    """The values are printed once, as text."""
    with PageServer(page()) as server:
        ran = invoke("top", server.url)
        once = invoke("top", server.url, "--once")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.splitlines()[0] == f"{server.url}  since the start of the server"
    assert "/avatar/{digest}" in ran.out and "\x1b" not in ran.out
    assert ran.out.splitlines()[-4:-1] == once.out.splitlines()[-4:-1]


def test_top_needs_the_metrics() -> None:
    """Without the metrics page, one line names the command that finds the cause."""
    with PageServer("Hello") as server:
        ran = invoke("top", server.url, "--once")
    assert ran.status == 2
    assert "run avatar-telemetry doctor --url to find" in ran.err
