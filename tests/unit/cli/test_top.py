"""A server whose metrics are read again and again."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import pytest

from avatar_telemetry.cli import top as module
from avatar_telemetry.cli.top import Watched
from avatar_telemetry.cli.web import Response, WebError
from tests.support.clock import PauseClock
from tests.support.running import PageServer
from tests.support.top_state import read

PAGE = """\
avatar_telemetry_build_info 1.0
ivatar_requests_total 100.0
process_start_time_seconds{worker="master"} 1.0
"""


@pytest.fixture
def server() -> Iterator[PageServer]:
    with PageServer(PAGE) as server:
        yield server


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        pytest.param("", "/metrics", id="bare"),
        pytest.param("/", "/metrics", id="slash"),
        pytest.param("/own/page", "/own/page", id="page"),
    ],
)
def test_page_that_is_read(server: PageServer, path: str, asked: str) -> None:
    """Of a server its page is read, and the token opens it."""
    Watched(server.url + path, "sesame").next()
    assert server.asked == [("GET", asked, b"")]
    assert server.headers[0]["authorization"] == "Bearer sesame"


def test_path_of_the_settings(server: PageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a path in the URL that of the environment is read."""
    monkeypatch.setenv("AVATAR_TELEMETRY_METRICS_PATH", "/m")
    Watched(server.url, "").next()
    assert server.asked == [("GET", "/m", b"")]
    assert "authorization" not in server.headers[0]


def test_first_and_next_look(server: PageServer) -> None:
    """The first look is since the start of the server, the next since the last one."""
    watched = Watched(server.url, "")
    first, later = watched.next(), watched.next()
    assert first["since_start"] and not later["since_start"]
    assert first["requests"] > 0
    assert first["seconds"] > 1e9 > later["seconds"]
    assert later["requests"] == 0


def test_a_server_that_was_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counters that went back count from zero, since the start of the new server."""
    pages = iter([read(PAGE), read(PAGE.replace("100.0", "7.0"))])
    monkeypatch.setattr(module, "fetch", lambda url, token, path: (url, None, next(pages)))
    watched = Watched("http://a-host", "")
    watched.next()
    restarted = watched.next()
    assert restarted["since_start"]
    assert 0 < restarted["requests"] * restarted["seconds"] == pytest.approx(7.0)


def test_states_go_on_without_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed request is a state with its error, and the next one has the values again."""
    pages = iter([read(PAGE), None, read(PAGE)])
    monkeypatch.setattr(module, "Event", PauseClock(0.0).event)
    monkeypatch.setattr(
        module, "fetch", lambda url, token, path: (url, Response(503, {}, b""), next(pages))
    )
    first, failed, later = islice(Watched("http://a-host", "").states(2.0), 3)
    assert first["since_start"]
    assert set(failed) == {"time", "error"} and "(503)" in failed["error"]
    assert later["requests"] == 0.0


@pytest.mark.parametrize(
    "series",
    ["ivatar_request_duration_seconds_bucket 1", 'ivatar_request_duration_seconds_bucket{le="x"} 1',
     "gunicorn_worker_requests_in_progress 1"],
)  # fmt: skip
def test_a_page_with_invalid_series(series: str) -> None:
    """A page of ours without the labels of ours is a failed request, not an unexpected error."""
    with (
        PageServer(f"{PAGE}{series}\n") as server,
        pytest.raises(WebError, match="another program"),
    ):
        Watched(server.url, "").next()


@pytest.mark.parametrize(
    ("page", "status"), [(PAGE, 404), ("Hello", 200), ("other_metric 1.0\n", 200)]
)
def test_what_is_no_page_of_ours(page: str, status: int) -> None:
    """Where the metrics are not shown the error names the command that finds out."""
    with PageServer(page, status) as server, pytest.raises(WebError, match="doctor --url"):
        Watched(server.url, "").next()
