"""A visitor of an avatar server: what it sends, and how it answers what it is sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from io import BytesIO
from typing import Any
from urllib.parse import urlencode

import pytest
from PIL import Image

from avatar_telemetry.cli.traffic import COOKIE, LOGIN, NEW, PASSWORD, TOKEN, Visitor, picture
from avatar_telemetry.cli.web import Answer, Site, WebError

PAGE = Answer(200, {}, b"")
FOUND = Answer(302, {}, b"")
CROP = "/site/tools/crop_photo/7"


class Server(Site):
    """A server that answers as a test says, and keeps what it was sent.

    Args:
        respond: makes the answer from method and path.
    """

    def __init__(self, respond: Callable[[str, str], Answer] = lambda method, path: PAGE) -> None:
        super().__init__("http://avatars.example.org/site")
        self.requests: list[tuple[str, str, bytes, dict[str, str]]] = []
        self._respond = respond

    def ask(
        self, method: str, path: str, body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:  # fmt: skip
        self.requests.append((method, path, body or b"", dict(headers or {})))
        return self._respond(method, path)

    def to(self, path: str, method: str = "POST") -> list[tuple[bytes, dict[str, str]]]:
        """Body and headers of the requests for a path."""
        return [
            (sent, had) for how, what, sent, had in self.requests if (how, what) == (method, path)
        ]


def visit(server: Server, requests: int = 400, **options: Any) -> list[tuple[str, int]]:
    """Let a visitor send its requests; each action with its status."""
    told: list[tuple[str, int]] = []
    paused: list[None] = []
    options = {"outside": False, **options}
    Visitor(
        server, "bob", 1, requests, lambda action, status, seconds: told.append((action, status)),
        lambda: paused.append(None), **options,
    ).run()  # fmt: skip
    assert len(told) == len(paused) == len(server.requests)
    return told


@pytest.mark.parametrize("requests", [0, 1, 2, 300])
def test_no_more_requests_than_allowed(requests: int) -> None:
    """A visitor ends when it has sent its share, in the middle of an action too."""
    assert len(visit(Server(), requests)) == requests


def test_cookies_are_sent_back() -> None:
    """The newest value of each cookie is sent; one that cannot be read is left out."""
    cookies = iter([("a=1; Path=/", "b=2"), ("a=3", "\x00=;broken"), ("{bad}=1",)])
    server = Server(lambda *asked: Answer(200, {}, b"", next(cookies, ())))
    visit(server, 4)
    sent = [headers.get("Cookie") for _, _, _, headers in server.requests]
    assert sent == [None, "a=1; b=2", "a=3; b=2", "a=3; b=2"]


@pytest.mark.parametrize(
    ("page", "cookies", "token"),
    [
        pytest.param(f'<input name="{TOKEN}" value="form">'.encode(), (), "form", id="form"),
        pytest.param(b"", (f"{COOKIE}=cookie",), "cookie", id="cookie alone"),
        pytest.param(f'<input name="{TOKEN}" value="form">'.encode(), (f"{COOKIE}=cookie",), "form",
                     id="form and cookie"),
    ],
)  # fmt: skip
def test_token_of_a_form(page: bytes, cookies: tuple[str, ...], token: str) -> None:
    """A form is sent with the token of its page, or of the cookie."""
    server = Server(lambda *asked: Answer(200, {}, page, cookies))
    visit(server, 2)
    ((body, headers),) = server.to(NEW)
    assert f"{TOKEN}={token}&".encode() in body
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert headers["Referer"] == f"http://avatars.example.org/site{NEW}"


def test_an_account_of_an_earlier_run_is_used() -> None:
    """Where the account is there already the visitor logs in."""
    server = Server(lambda method, path: FOUND if (method, path) == ("POST", LOGIN) else PAGE)
    visit(server, 4)
    assert [(how, path) for how, path, _, _ in server.requests] == [
        ("GET", NEW), ("POST", NEW), ("GET", LOGIN), ("POST", LOGIN),
    ]  # fmt: skip
    assert urlencode({"password": PASSWORD}).encode() in server.to(LOGIN)[0][0]


def test_a_new_account_needs_no_log_in() -> None:
    """After the registration other actions follow."""
    server = Server(lambda method, path: FOUND if (method, path) == ("POST", NEW) else PAGE)
    visit(server, 3)
    assert server.requests[2][1] != LOGIN


def test_a_photo_is_cropped_where_the_server_leads() -> None:
    """After an upload the form is sent to the page of the redirect, below the site's path."""

    def respond(method: str, path: str) -> Answer:
        if (method, path) == ("POST", "/accounts/upload_photo/"):
            return Answer(302, {"location": f"http://avatars.example.org{CROP}"}, b"")
        return FOUND if method == "POST" else PAGE

    server = Server(respond)
    told = Counter(action for action, _ in visit(server))
    crops = server.to("/tools/crop_photo/7")
    assert len(crops) == told["crop"] > 0
    assert told["upload"] - told["crop"] in (0, 1)  # the last may be cut off
    assert all(b"x=0&y=0&w=" in body for body, _ in crops)


def test_no_photo_without_an_account() -> None:
    """Who is not logged in only opens the page of the upload."""
    server = Server()
    visit(server)
    assert server.to("/accounts/upload_photo/", "GET")
    assert not server.to("/accounts/upload_photo/")


def test_no_answer_is_told() -> None:
    """A request without an answer has the status 0, and the visit goes on."""

    def fail(*asked: str) -> Answer:
        raise WebError("gone")

    told = visit(Server(fail), 10)
    assert [status for _, status in told] == [0] * 10


def test_outside_services_only_where_wanted() -> None:
    """Nothing makes the server ask others, unless that is wanted."""
    assert "avatar, Gravatar" not in dict(visit(Server(), 400))
    assert "avatar, Gravatar" in dict(visit(Server(), 400, outside=True))


@pytest.mark.parametrize("edge", [60, 299])
def test_pictures_are_pictures(edge: int) -> None:
    """What visitors upload is a PNG of its size."""
    image = Image.open(BytesIO(picture(edge, bytes((255, 0, 0, 0, 0, 255)))))
    image.load()
    assert (image.format, image.size) == ("PNG", (edge, edge))
    assert image.getpixel((0, 0)) == (255, 0, 0)
