"""A server whose metrics are read again and again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from avatar_telemetry.cli.top import Watched
from avatar_telemetry.cli.web import WebError
from tests.support.running import PageServer

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
    Watched(server.url + path, "sesame").first()
    assert server.asked == [("GET", asked, b"")]
    assert server.headers[0]["authorization"] == "Bearer sesame"


def test_path_of_the_settings(server: PageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a path in the URL that of the environment is read."""
    monkeypatch.setenv("AVATAR_TELEMETRY_METRICS_PATH", "/m")
    Watched(server.url, "").first()
    assert server.asked == [("GET", "/m", b"")]
    assert "authorization" not in server.headers[0]


def test_first_and_next_look(server: PageServer) -> None:
    """The first look is since the start of the server, the next since the last one."""
    watched = Watched(server.url, "")
    first, later = watched.next(), watched.next()
    assert first["requests"] > 0
    assert first["seconds"] > 1e9 > later["seconds"]
    assert later["requests"] == 0


@pytest.mark.parametrize(
    ("page", "status"), [(PAGE, 404), ("Hello", 200), ("other_metric 1.0\n", 200)]
)
def test_what_is_no_page_of_ours(page: str, status: int) -> None:
    """Where the metrics are not shown the error names the command that finds out."""
    with PageServer(page, status) as server, pytest.raises(WebError, match="doctor --url"):
        Watched(server.url, "").first()
