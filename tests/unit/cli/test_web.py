"""Requests to a web server: the URL, one exchange, and the words for what went wrong."""

from __future__ import annotations

import http.client
import socket
import ssl

import pytest

from avatar_telemetry.cli.web import Site, WebError, explain
from tests.support.real_servers import own_port
from tests.support.running import PageServer


class TlsError(ssl.SSLError):
    """As OpenSSL raises it."""

    reason = "WRONG_VERSION_NUMBER"


def test_one_exchange() -> None:
    """The path of the URL is put before that of the request; a redirect is not followed."""
    with PageServer("moved", 302, **{"Location": "/elsewhere"}) as server:
        response = Site(f"{server.url}/site/").get("/page?x=1", {"X-Mine": "yes"})
    assert (response.status, response.text) == (302, "moved")
    assert response.headers["location"] == "/elsewhere"
    assert server.asked == [("GET", "/site/page?x=1", b"")]
    assert server.headers[0]["x-mine"] == "yes"
    assert server.headers[0]["connection"] == "close"


def test_text_that_is_no_utf_8() -> None:
    """A body is shown as text, whatever it holds."""
    with PageServer("\udcff".encode("utf-8", "surrogateescape").decode("latin-1")) as server:
        assert Site(server.url).get("/").text == "ÿ"


@pytest.mark.parametrize(
    "url",
    ["", "here", "ftp://here", "http://", "http://me@here", "http://:secret@here", "http://here:x",
     "http://here:99999", "http://[::1"],
)  # fmt: skip
def test_what_is_no_url(url: str) -> None:
    """An error shows a URL that can be given."""
    with pytest.raises(WebError, match=r"such as\s+http://127\.0\.0\.1:8000") as caught:
        Site(url)
    assert "secret" not in str(caught.value)


def test_refused_connection() -> None:
    """A refused connection is one line with the URL of the server, without the path."""
    with own_port() as port:
        url = f"http://127.0.0.1:{port}"
        with pytest.raises(WebError, match=f"^{url} refuses the connection"):
            Site(f"{url}/site").get("/")


@pytest.mark.parametrize("character", ["\n", "\r", "€"], ids=ascii)
def test_invalid_header(character: str) -> None:
    """A value that a header must not have is refused, without the value."""
    with PageServer() as server, pytest.raises(WebError, match="the token, has") as caught:
        Site(server.url).get("/", {"Authorization": f"Bearer secret{character}x"})
    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__
    assert server.asked == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TlsError(), "has a TLS fault: wrong version number"),
        (socket.gaierror(-2, "Name or service not known"), "does not resolve"),
        (ConnectionRefusedError(111, "refused"), "refuses the connection"),
        (TimeoutError("timed out"), "timed out"),
        (http.client.BadStatusLine("x"), "does not respond with HTTP"),
        (OSError(113, "No route to host"), "cannot be reached: No route to host"),
        (OSError("odd"), "cannot be reached: odd"),
    ],
)
def test_words_for_an_error(error: Exception, words: str) -> None:
    """Each kind of failure has words of its own, whatever its base class."""
    assert words in explain(error)
