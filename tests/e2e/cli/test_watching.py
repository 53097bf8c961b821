"""``metrics``, ``top`` and ``simulate`` with a real server: the demo under gunicorn."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

from avatar_telemetry.cli.samples import Samples, read_samples
from avatar_telemetry.cli.web import Site
from tests.support.paths import REPOSITORY
from tests.support.running import (
    DEADLINE,
    DemoServer,
    command,
    demo_command,
    environment,
    eventually,
    invoke,
    simulate,
)

COUNTED = "ivatar_requests_total"


def page(server: DemoServer) -> Samples:
    """The page of the server itself."""
    samples = read_samples(Site(server.url, DEADLINE).get("/metrics").text)
    assert samples is not None
    return samples


def offline(*arguments: object, **env: str) -> Samples:
    """The page that the command reads from a folder."""
    ran = invoke("metrics", *arguments, **env)
    assert ran.status == 0, ran.err
    samples = read_samples(ran.out)
    assert samples is not None
    return samples


def dict_of(samples: Samples, name: str) -> dict[str, float]:
    return {str(sorted(labels.items())): value for labels, value in samples.series(name)}


def test_the_folder_tells_what_the_server_tells(demo_server: DemoServer) -> None:
    """Read from its files, the counters of a running server are those of its page."""
    simulate(demo_server.url, "-n", 40, "--random-state", 11)
    eventually(lambda: not page(demo_server).total("ivatar_requests_in_progress"), "the end")
    served, read = page(demo_server), offline(demo_server.runtime)
    for name in (COUNTED, "ivatar_avatar_requests_total", "ivatar_auth_attempts_total"):
        assert dict_of(read, name) == dict_of(served, name)
    assert read.total("gunicorn_workers") == 2
    assert offline(PROMETHEUS_MULTIPROC_DIR=str(demo_server.runtime)).total(COUNTED) == read.total(
        COUNTED
    )


def test_looking_at_a_folder_changes_nothing(demo_server: DemoServer) -> None:
    """No file is made, replaced or removed by looking."""

    def files() -> dict[str, tuple[int, int]]:
        status = {each.name: each.stat() for each in demo_server.runtime.iterdir()}
        return {name: (each.st_ino, each.st_size) for name, each in status.items()}

    before = files()
    offline(demo_server.runtime)
    invoke("doctor", "--no-send", **demo_server.env)
    assert files() == before


def test_openmetrics_on_demand(demo_server: DemoServer) -> None:
    """The other text format ends with its mark."""
    assert invoke("metrics", demo_server.runtime, "--openmetrics").out.endswith("# EOF\n")


def test_the_simulation_is_what_the_server_counts(demo_server: DemoServer) -> None:
    """Exactly the requests of the tally are on the page, and all are successful."""
    before = page(demo_server)
    shown = simulate(demo_server.url, "-n", 300, "-c", 3, "--random-state", 21, "--json").json()
    assert shown["requests"] == 300
    statuses = {status for row in shown["actions"] for status in row["statuses"]}
    assert statuses <= {"200", "302", "404"}

    eventually(lambda: not page(demo_server).total("ivatar_requests_in_progress"), "the end")
    seen = page(demo_server).minus(before)
    assert seen.total(COUNTED) == 300 + 1  # and one that checks that the server is there
    actions = {row["action"]: row["requests"] for row in shown["actions"]}
    for action, operation in (("register", "register"), ("log out", "logout")):
        assert seen.total("ivatar_auth_attempts_total", operation=operation) == actions[action]
    uploads = actions["upload"] + actions.get("upload, no picture", 0)
    assert seen.total("ivatar_file_uploads_total") == uploads
    assert seen.total("ivatar_file_uploads_total", success="true") == actions["crop"]
    assert not seen.total("ivatar_external_avatar_requests_total")


def test_a_rate_is_kept(demo_server: DemoServer) -> None:
    """No more requests a second are sent than asked for."""
    shown = simulate(demo_server.url, "-n", 30, "-c", 3, "--rate", 20, "--json").json()
    assert shown["seconds"] >= (30 - 3) / 20


def test_a_server_that_goes_away_ends_the_simulation(tmp_path: Path) -> None:
    """After some requests without a response the simulation reports them, and those before."""
    with DemoServer(tmp_path, workers=1) as server:
        process = subprocess.Popen(
            demo_command("avatar_demo.simulate", server.url, "-n", 100_000), cwd=REPOSITORY,
            env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        eventually(lambda: page(server).total(COUNTED) > 20, "the traffic")
    out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 2
    assert "consecutive requests; see the server's log" in err
    assert "Traceback" not in err
    assert "avatar, drawn" in out
    sent = re.search(r"^(\d+) requests in", out, re.MULTILINE)
    assert sent is not None and int(sent[1]) < 100_000


def test_an_interrupted_simulation_tells_what_it_did(demo_server: DemoServer) -> None:
    """Ctrl-C ends the sending and shows the tally."""
    before = page(demo_server).total(COUNTED)
    process = subprocess.Popen(
        demo_command("avatar_demo.simulate", demo_server.url, "-n", 100_000, "--rate", 50,
                     "--random-state", 41),
        cwd=REPOSITORY, env=environment(), text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    eventually(lambda: page(demo_server).total(COUNTED) > before + 5, "the traffic")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 130
    assert "requests in" in out
    assert "Traceback" not in err


def test_top_once_prints_a_snapshot(demo_server: DemoServer) -> None:
    """``--once`` prints the numbers, the routes and the workers, without escape sequences."""
    simulate(demo_server.url, "-n", 40, "--random-state", 51)
    shown = invoke("top", demo_server.url, "--once").out
    assert "slowest routes" in shown
    assert "/avatar/{digest}" in shown
    assert re.search(r"^master +- +\d+ MiB", shown, re.MULTILINE)
    assert "\x1b" not in shown


def test_top_for_programs(demo_server: DemoServer) -> None:
    """``--once --json`` gives the same as values."""
    seen = invoke("top", demo_server.url, "--once", "--json").json()
    assert {"requests", "percentiles", "cache", "routes", "workers"} <= set(seen)
    assert [worker["name"] for worker in seen["workers"]] == ["0", "1", "master"]


@pytest.mark.parametrize("ended_by", [
    pytest.param(b"q", id="key"),
    pytest.param(signal.SIGINT, id="SIGINT", marks=pytest.mark.slow),
    pytest.param(signal.SIGTERM, id="SIGTERM", marks=pytest.mark.slow),
])  # fmt: skip
def test_top_is_live_on_a_terminal(demo_server: DemoServer, ended_by: bytes | int) -> None:
    """On a terminal the display is renewed until a key or a signal ends it, with status 0."""
    terminal, side = pty.openpty()
    process = subprocess.Popen(
        command("top", demo_server.url, "--interval", "0.2"), stdin=side, stdout=side, stderr=side,
        env=environment(TERM="xterm-256color", COLUMNS="120", LINES="50"), start_new_session=True,
    )  # fmt: skip
    os.close(side)
    shown = ""
    end = time.monotonic() + DEADLINE
    while "in the last" not in shown and time.monotonic() < end:
        if select.select([terminal], [], [], 0.1)[0]:
            shown += os.read(terminal, 65_536).decode(errors="replace")
    if isinstance(ended_by, bytes):
        os.write(terminal, ended_by)
    else:
        process.send_signal(ended_by)
    try:
        while data := os.read(terminal, 65_536):
            shown += data.decode(errors="replace")
    except OSError:  # Linux: the last one to write has gone (EIO)
        pass
    os.close(terminal)
    assert process.wait(DEADLINE) == 0
    assert "in the last" in shown
    assert "slowest routes" in shown and "master" in shown
    assert "Traceback" not in shown
    assert "\x1b[?1049l" in shown  # the terminal is given back as it was


@pytest.mark.parametrize(
    "ended_by",
    [
        pytest.param("SIGINT", marks=pytest.mark.slow),
        "SIGTERM",
        "closed pipe",
    ],
)
def test_top_streams_an_object_a_line(demo_server: DemoServer, ended_by: str) -> None:
    """Each line is flushed, and the end by a signal or the reader is clean."""
    with subprocess.Popen(
        command("top", demo_server.url, "--json", "--interval", "0.1"), env=environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None and process.stderr is not None
        first, second = (json.loads(process.stdout.readline()) for _ in range(2))
        if ended_by == "closed pipe":
            process.stdout.close()
        else:
            process.send_signal(signal.Signals[ended_by])
            assert all(json.loads(line) for line in process.stdout)
        assert process.stderr.read() == ""
        assert process.wait(DEADLINE) == 0
    assert first["since_start"] and not second["since_start"]
    assert second["seconds"] < first["seconds"] and second["workers"]
