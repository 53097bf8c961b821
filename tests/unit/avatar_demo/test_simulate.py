"""The simulation: what a visitor sends, how it treats responses, and the tally of all visitors."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stderr
from io import BytesIO, StringIO
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qs

import pytest
import requests
from PIL import Image
from requests.adapters import BaseAdapter
from urllib3 import HTTPResponse

from avatar_demo.simulate import (
    BAR,
    LOGIN,
    MAX_FAILED,
    NEW,
    PASSWORD,
    TOKEN,
    UPLOAD,
    Tally,
    Visitor,
    picture,
    refusals,
    send_all,
    share,
    stop_after,
)
from tests.support.running import PageServer, simulate

SITE = "http://avatars.example.org/site"
CROP = "/tools/crop_photo/7"

Respond = Callable[[str, str], tuple[int, str, bytes]]


def respond_always(method: str, path: str) -> tuple[int, str, bytes]:
    return 200, "", b""


def accept_forms(method: str, path: str) -> tuple[int, str, bytes]:
    return (302, "/site/", b"") if method == "POST" else (200, "", b"")


class Server(BaseAdapter):
    """A server without a network.

    Args:
        respond: status, ``Location`` and body for a method and a path below the site.
    """

    def __init__(self, respond: Respond) -> None:
        super().__init__()
        self.requests: list[tuple[str, str, bytes]] = []
        self._respond = respond

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> Any:
        body = request.body or b""
        path = str(request.url).removeprefix(SITE)
        self.requests.append((str(request.method), path, body if isinstance(body, bytes) else b""))
        response = requests.Response()
        response.request, response.url = request, str(request.url)
        response.status_code, location, page = self._respond(str(request.method), path)
        response.headers["Location"] = location
        response.raw = HTTPResponse(BytesIO(page), preload_content=False)
        return response

    def close(self) -> None:
        """Nothing is open."""

    def forms(self, path: str) -> list[bytes]:
        """The forms that were sent to a path."""
        return [body for method, sent, body in self.requests if (method, sent) == ("POST", path)]


def visit(
    respond: Respond = respond_always, limit: int = 400, **options: Any
) -> tuple[Server, Counter[str]]:
    """Let a visitor send its requests; return the server and the number of each action."""
    server, tally, session = Server(respond), Tally(), requests.Session()
    session.mount("http://", server)
    Visitor(SITE, "bob", limit, tally, session=session, **options).run()
    return server, Counter({row["action"]: row["requests"] for row in tally.rows()})


@pytest.mark.parametrize("limit", [0, 1, 2, 300])
def test_no_more_requests_than_allowed(limit: int) -> None:
    """A visitor ends when it has sent its share, in the middle of an action too."""
    server, actions = visit(limit=limit)
    assert len(server.requests) == actions.total() == limit


def test_token_of_a_form() -> None:
    """A form is sent with the token of its page."""
    page = f'<input type="hidden" name="{TOKEN}" value="a-token">'.encode()
    server, _ = visit(lambda method, path: (200, "", page), 2)
    (form,) = server.forms(NEW)
    assert parse_qs(form.decode())[TOKEN] == ["a-token"]


def test_an_account_of_an_earlier_run_is_used() -> None:
    """A visitor whose account exists already logs in."""
    server, _ = visit(limit=4)
    assert [(method, path) for method, path, _ in server.requests] == [
        ("GET", NEW), ("POST", NEW), ("GET", LOGIN), ("POST", LOGIN),
    ]  # fmt: skip
    assert parse_qs(server.forms(LOGIN)[0].decode())["password"] == [PASSWORD]


def test_a_new_account_needs_no_login() -> None:
    """After the registration other actions follow."""
    server, _ = visit(accept_forms, 3)
    assert server.requests[2][1] != LOGIN


@pytest.mark.parametrize("location", [f"/site{CROP}", f"{SITE}{CROP}"])
def test_a_photo_is_cropped_where_the_server_leads(location: str) -> None:
    """After an upload the form is sent to the page of the redirect, below the path of the site."""

    def respond(method: str, path: str) -> tuple[int, str, bytes]:
        if (method, path) == ("POST", UPLOAD):
            return 302, location, b""
        return accept_forms(method, path)

    server, actions = visit(respond)
    forms = server.forms(CROP)
    assert len(forms) == actions["crop"] > 0
    assert all(b"&x=0&y=0&w=" in form for form in forms)


def test_no_photo_without_an_account() -> None:
    """A visitor who is not logged in only opens the page of the upload."""
    server, actions = visit()
    assert actions["upload"] > 0
    assert not server.forms(UPLOAD)


def test_no_response_is_counted() -> None:
    """A request without a response has the status none; too many in a row end the visit."""

    def fail(method: str, path: str) -> tuple[int, str, bytes]:
        raise requests.ConnectionError("gone")

    _, actions = visit(fail)
    assert actions.total() == MAX_FAILED


def test_outside_services_only_on_demand() -> None:
    """Nothing makes the server send requests to Gravatar, unless that is requested."""
    assert not visit()[1]["avatar, Gravatar"]
    assert visit(outside=True)[1]["avatar, Gravatar"]


@pytest.mark.parametrize("edge", [60, 299])
def test_pictures_are_pictures(edge: int) -> None:
    """Visitors upload a PNG of its size."""
    image = Image.open(BytesIO(picture(edge, (255, 0, 0, 0, 0, 255))))
    image.load()
    assert (image.format, image.size) == ("PNG", (edge, edge))
    assert image.getpixel((0, 0)) == (255, 0, 0)


def test_the_same_random_state_sends_the_same() -> None:
    """To the same responses a random state sends the same requests, another one others."""

    def asked(state: int) -> list[tuple[str, str, bytes]]:
        with PageServer() as server:
            assert simulate(server.url, "-n", 80, "-c", 1, "--random-state", state).status == 0
            return server.asked

    first = asked(31)
    assert len(first) == 80 + 1
    assert asked(31) == first
    assert asked(32) != first


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["127.0.0.1:8000"], "http or https URL", id="no scheme"),
        pytest.param(["http://a:b@127.0.0.1:1"], "without user name", id="user"),
        pytest.param(["http://[::1"], "invalid _url value", id="bracket"),
        pytest.param(
            ["http://127.0.0.1:1"],
            "simulate: http://127.0.0.1:1 does not respond (ConnectionRefusedError: [Errno 111]"
            " Connection refused); check that the server runs on this port\n",
            id="refused",
        ),
        pytest.param(["http://127.0.0.1:1", "-n", "0"], "not a positive number", id="number"),
    ],
)
def test_errors(arguments: list[str], words: str) -> None:
    """An error is a message without a traceback, and the status is 2."""
    ran = simulate(*arguments)
    assert ran.status == 2
    assert words in ran.err


def test_a_server_without_avatars() -> None:
    """A server that responds with 404 to each avatar ends the simulation with status 1."""
    with PageServer("no", 404) as server:
        ran = simulate(server.url, "-n", 40, "-c", 2)
    assert ran.status == 1
    assert "40 requests in" in ran.out
    assert f"simulate: {server.url} served no avatar (404: " in ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    ("responses", "text"),
    [
        pytest.param([("avatar, drawn", 404), ("avatar, own", 500)], "404: 1, 500: 1", id="none"),
        pytest.param([("avatar, drawn", 404), ("avatar, own", 302)], "", id="redirect"),
        pytest.param([("avatar, missing", 404), ("page", 404)], "", id="none requested"),
        pytest.param([("avatar, default", 0)], "none: 1", id="no response"),
    ],
)
def test_refusals(responses: list[tuple[str, int]], text: str) -> None:
    """Only the avatars that a server always has are considered, not those that may be missing."""
    tally = Tally()
    for action, status in responses:
        tally.add(action, status, 0.1)
    assert refusals(tally.rows()) == text


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_bar_reaches_the_end(is_terminal: bool) -> None:
    """On a terminal the bar ends at 100 % and with its line; elsewhere there is none."""
    shown, tally = StringIO(), Tally()
    with (
        PageServer() as server,
        patch.object(shown, "isatty", lambda: is_terminal),
        redirect_stderr(shown),
    ):
        send_all([Visitor(server.url, "bob", 20, tally)], tally, 20)
    last = shown.getvalue().rpartition("\r")[2]
    assert last == (f"[{'#' * BAR}] 100% 20 requests\n" if is_terminal else "")


def test_rows_by_action() -> None:
    """Each action has its statuses and times; a request without a response is ``none``."""
    tally = Tally()
    for number in range(1, 101):
        tally.add("page", 0 if number == 100 else 200, number / 100)
    tally.add("avatar", 404, 1.0)
    avatar, page = tally.rows()
    assert avatar == {
        "action": "avatar", "requests": 1, "statuses": {"404": 1},
        "p50_seconds": 1.0, "p95_seconds": 1.0,
    }  # fmt: skip
    assert page["statuses"] == {"none": 1, "200": 99}
    assert (page["requests"], page["p50_seconds"], page["p95_seconds"]) == (100, 0.51, 0.96)
    assert tally.sent == 101


def test_a_server_without_responses_stops_all() -> None:
    """Only requests without a response in a row end the simulation, and that for good."""
    tally = Tally()
    for status in [*[0] * (MAX_FAILED - 1), 500, *[0] * (MAX_FAILED - 1)]:
        tally.add("page", status, 0.0)
        assert not tally.stopped.is_set()
    for status in (0, 200):
        tally.add("avatar", status, 0.0)
        assert tally.stopped.is_set()
    assert tally.failed == MAX_FAILED


@pytest.mark.parametrize(("total", "visitors"), [(0, 1), (1, 4), (4, 4), (10, 3), (1000, 64)])
def test_shares_add_up(total: int, visitors: int) -> None:
    """The visitors send all requests together, none many more than another."""
    shares = [share(total, visitors, number) for number in range(visitors)]
    assert sum(shares) == total
    assert max(shares) - min(shares) <= 1


class EndlessVisitor:
    """Visits until all visitors stop."""

    def __init__(self, tally: Tally) -> None:
        self.run = tally.stopped.wait


def test_the_end_of_the_time_stops_all() -> None:
    """All visitors stop at the end of the time."""
    tally = Tally()
    asked = threading.Event()

    def is_over() -> bool:
        was_asked = asked.is_set()
        asked.set()
        return was_asked

    visitors: Any = [EndlessVisitor(tally), EndlessVisitor(tally)]
    assert not send_all(visitors, tally, 100, is_over)
    assert tally.stopped.is_set()


def test_time() -> None:
    """Without a limit the time is never over, with a past one it is."""
    assert not stop_after(0)()
    assert not stop_after(1e6)()
    assert stop_after(-1.0)()


def test_process() -> None:
    """With the process of the server the time is over; another one goes on."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    is_over = stop_after(0, child)
    assert not is_over()  # it has not been waited for
    os.waitpid(child, 0)
    assert is_over()
    assert not stop_after(0, os.getpid())()
