"""The buttons of the demo under a real gunicorn: traffic, and the end of a worker."""

from __future__ import annotations

import http.client
import re
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL, SIGTERM
from urllib.parse import urlencode

import pytest

from tests.support.gunicorn_server import Answer, GunicornServer, Metrics, Serve, eventually
from tests.support.paths import REPOSITORY
from tests.support.rows import WORKER_CLASSES, by_default

PAGE = "/statistics/"
# On a busy machine the test may take longer than the minute of the demo.
ENDLESS = """
def post_worker_init(worker):
    from avatar_demo import trial
    trial.SECONDS = 3600
"""
COUNT = re.compile(r"ivatar_\w+_(total|count|bucket)")


def press(server: GunicornServer, action: str) -> str:
    """Press a button; the message of the page after it."""
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', server.get(PAGE).text)
    assert found is not None
    form = urlencode({"csrfmiddlewaretoken": found[1], "action": action}).encode()
    kind = "application/x-www-form-urlencoded"
    headers = {"Cookie": f"csrftoken={found[1]}", "Content-Type": kind}
    answer = server.request("POST", PAGE, form, headers)
    assert (answer.status, answer.headers["Location"]) == (302, PAGE)
    cookie = next(each for each in answer.cookies if each.startswith("messages="))

    def follow() -> Answer | None:
        try:
            return server.get(PAGE, {"Cookie": cookie.partition(";")[0]})
        except (OSError, http.client.HTTPException):
            return None  # another thread of the killed worker had accepted the connection

    page = eventually(follow, what="the page after the button")
    message = re.search(r'role="status">([^<]*)<', page.text)
    assert message is not None
    return message[1]


def senders(server: GunicornServer) -> list[int]:
    """The processes of the server that send traffic."""
    found = []
    for pid in server.everybody():
        with suppress(OSError):  # another one has just ended
            if b"avatar_demo.simulate" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def decreased(before: Metrics, after: Metrics) -> list[object]:
    """The counts that are lower than before, or gone."""
    counts = [key for key in before if COUNT.fullmatch(key[0])]
    assert len(counts) > 20
    return [key for key in counts if after.get(key, -1.0) < before[key]]


@pytest.mark.parametrize("worker_class", by_default("sync", WORKER_CLASSES))
def test_traffic_outlives_a_worker_but_not_the_server(
    serve: Serve, tmp_path: Path, worker_class: str
) -> None:
    """One process sends while workers are killed, no count decreases; it ends with the server."""
    server = serve(
        "wsgi:application", worker_class=worker_class, pythonpath=str(REPOSITORY), config=ENDLESS,
        env={
            "AVATAR_TELEMETRY_PROFILE": "avatar_demo.profile:PROFILE",
            "DEMO_DATA": str(tmp_path / "data"), "DEMO_DEVELOPMENT": "1",
        },
    )  # fmt: skip
    assert press(server, "traffic") == "Traffic is sent for 3600 seconds."
    (sender,) = senders(server)
    starter = int(Path(f"/proc/{sender}/stat").read_text().rpartition(") ")[2].split()[1])
    assert starter in server.workers()
    assert press(server, "traffic") == "Traffic is being sent already."
    assert senders(server) == [sender]
    eventually(lambda: server.value("ivatar_avatar_requests_total") > 5, what="traffic")

    before = server.metrics()
    killed = re.fullmatch(r"Worker (\d+) was killed\.", press(server, "kill"))
    assert killed is not None
    with suppress(ProcessLookupError):  # it may be the one that was killed
        server.signal(SIGKILL, starter)
    server.await_workers(2, without=[int(killed[1]), starter])
    assert decreased(before, server.metrics()) == []
    assert server.requests(method="POST", path=PAGE, status_code="302") == 3

    now = server.requests()
    eventually(lambda: server.requests() > now + 5, what="more traffic")
    assert senders(server) == [sender]
    server.signal(SIGTERM)
    server.wait()
    eventually(lambda: not server.everybody(), what="the end of the traffic")
    assert (tmp_path / "data" / "traffic.log").read_text().startswith("action")
