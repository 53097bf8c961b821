"""The upgrade in place (USR2): two masters, one folder, one set of series."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.support.gunicorn_server import (
    AVATARS,
    Load,
    Serve,
    await_port,
    eventually,
    recorded_masters,
    total,
)
from tests.support.rows import MATRIX, by_default

UPGRADED = [row for row in MATRIX if row.id in ("sync-import", "gthread-preload", "gevent-import")]


@pytest.mark.parametrize(("worker_class", "preload"), by_default("gthread-preload", UPGRADED))
def test_upgrade_goes_on_in_the_same_folder(serve: Serve, worker_class: str, preload: bool) -> None:
    """Under load: nothing is lost, no slot is used twice, the folder goes with the last master."""
    server = serve(worker_class=worker_class, preload_app=preload)
    server.await_workers(2)
    folder = server.runtime_folder
    with Load(lambda: server.get("/avatar/abc")) as load:
        load.await_more(20)
        old, new = server.upgrade()
        assert sorted(server.slots()) == [0, 1, 2, 3]
        assert recorded_masters(folder) == [old, new]
        load.await_more(20)
        server.end(old)
        server.await_workers(2)
        load.await_more(20)
    assert not load.failures
    assert server.masters() == [new]
    assert server.runtime_folder == folder
    server.await_requests(load.statuses[200], **AVATARS)
    assert server.value("gunicorn_workers") == 2
    server.end(new)
    assert not folder.exists()
    assert "Traceback" not in server.log()


def test_upgrade_that_is_taken_back(serve: Serve) -> None:
    """Where the new master ends first, the old one goes on in the folder."""
    server = serve()
    server.get("/avatar/abc")
    folder = server.runtime_folder
    old, new = server.upgrade()
    server.get("/avatar/abc")
    server.await_requests(2)
    server.end(new)
    server.await_workers(2)
    assert folder.exists()
    assert server.masters() == [old]
    server.get("/avatar/abc")
    server.await_requests(3)


def test_upgrade_after_a_reload(serve: Serve) -> None:
    """A reload before the upgrade does not turn the private folder into one that stays."""
    server = serve(workers=2)
    server.get("/avatar/abc")
    folder = server.runtime_folder
    server.reload()
    old, new = server.upgrade()
    server.end(old)
    server.await_workers(2)
    server.await_requests(1)
    server.end(new)
    assert not folder.exists()


def test_two_upgrades(serve: Serve) -> None:
    """Counters go on over any number of upgrades."""
    server = serve(workers=2)
    folder = server.runtime_folder
    for round_ in range(2):
        server.get("/avatar/abc")
        old, _ = server.upgrade()
        server.end(old)
        server.await_workers(2)
        server.await_requests(round_ + 1)
        promotions = round_ + 1
        eventually(lambda n=promotions: server.log().count("Master has been promoted.") == n)
    assert server.runtime_folder == folder
    (last,) = server.masters()
    server.end(last)
    assert not folder.exists()


def test_old_master_killed_after_the_upgrade(serve: Serve) -> None:
    """The new master survives a SIGKILL of the old one, and ends cleanly."""
    server = serve()
    server.get("/avatar/abc")
    folder = server.runtime_folder
    old, new = server.upgrade()
    server.end(old, signal.SIGKILL)
    server.await_end_of_orphans()
    server.await_workers(2)
    server.get("/avatar/abc")
    server.await_requests(2)
    assert server.everybody() == sorted([new, *server.workers(new)])
    server.end(new)
    assert not folder.exists()


def test_upgrade_to_settings_that_cannot_be_used(serve: Serve) -> None:
    """The new master says what is wrong and ends; the old one and its folder stay."""
    server = serve()
    server.get("/avatar/abc")
    folder = server.runtime_folder
    server.set_raw_env(AVATAR_TELEMETRY_PRIVACY="some")
    server.signal(signal.SIGUSR2)
    eventually(lambda: "AVATAR_TELEMETRY_PRIVACY='some'" in server.log())
    eventually(lambda: len(server.everybody()) == 3)
    assert server.runtime_folder == folder
    server.get("/avatar/abc")
    server.await_requests(2)
    assert "Traceback" not in server.log()


def test_upgrade_in_a_named_folder(serve: Serve, tmp_path: Path) -> None:
    """A named folder is shared by both masters, emptied by neither, and stays after the last."""
    named = tmp_path / "named"
    server = serve(env={"PROMETHEUS_MULTIPROC_DIR": str(named)})
    server.get("/avatar/abc")
    old, new = server.upgrade()
    assert recorded_masters(named) == [old, new]
    server.end(old)
    server.await_workers(2)
    server.get("/avatar/abc")
    server.await_requests(2)
    server.end(new)
    assert [path.name for path in named.iterdir()] == ["folder.lock"]


def test_second_port_over_an_upgrade(serve: Serve, port: int) -> None:
    """The separate port is served by one exporter for both masters, at every stage."""
    server = serve(env={"OTEL_PROMETHEUS_ENDPOINT": f"127.0.0.1:{port}"})
    server.get("/avatar/abc")
    server.await_requests(1)
    await_port(port)
    old, new = server.upgrade()
    assert total(await_port(port), "ivatar_requests_total", **AVATARS) == 1
    server.end(old)
    server.await_workers(2)
    assert total(await_port(port), "ivatar_requests_total", **AVATARS) == 1
    assert server.exporter() not in server.workers(new)
