"""Headers on spans: those that were asked for, without their secrets."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_telemetry.http.headers import MAX_VALUE_LENGTH, MAX_VALUES, HeaderCapture

# With lone surrogates, which no bytes decode to and nothing can encode.
ANY_TEXT = st.text(st.characters() | st.sampled_from("\ud800\udfff\xe9"))

ENVIRON = {
    "HTTP_ACCEPT": "image/*", "HTTP_ACCEPT_LANGUAGE": "d\xc3\xa9", "CONTENT_TYPE": "text/plain",
    "HTTP_COOKIE": "sessionid=x", "HTTP_AUTHORIZATION": "Basic x", "HTTP_X_API_KEY": "k",
    "HTTP_COOKIE_POLICY": "p", "HTTP_NO_ACCEPT": "n", "PATH_INFO": "/", "wsgi.url_scheme": "http",
}  # fmt: skip
REDACTED = ("[REDACTED]",)


def test_only_what_was_asked_for() -> None:
    """Patterns match whole names in any case; attributes have the names of the conventions."""
    capture = HeaderCapture("request", ["Accept.*", "content-type"], [], "balanced")
    assert capture.of_request(ENVIRON) == {
        "http.request.header.accept": ("image/*",),
        "http.request.header.accept_language": ("dé",),
        "http.request.header.content_type": ("text/plain",),
    }


@pytest.mark.parametrize("captured", [[], ["", ""]])
def test_nothing_was_asked_for(captured: list[str]) -> None:
    """Without a pattern nothing is captured."""
    capture = HeaderCapture("request", captured, ["x"], "off")
    assert not capture
    assert capture.of_request(ENVIRON) == capture.of([("A", "b")]) == {}


@pytest.mark.parametrize(
    ("mode", "cookie"), [("strict", REDACTED), ("balanced", REDACTED), ("off", ("sessionid=x",))]
)
def test_credentials(mode: str, cookie: tuple[str, ...]) -> None:
    """What a log-in rests on is redacted, except in mode off; what is named is, in every mode."""
    capture = HeaderCapture("request", [".*"], ["api.key", ""], mode)  # type: ignore[arg-type]
    found = capture.of_request(ENVIRON)
    assert found["http.request.header.cookie"] == cookie
    assert found["http.request.header.authorization"] in (REDACTED, ("Basic x",))
    assert found["http.request.header.x_api_key"] == REDACTED
    assert found["http.request.header.cookie_policy"] == ("p",)


def test_response_headers() -> None:
    """A header that comes twice has two values; the work is bounded."""
    capture = HeaderCapture("response", ["vary", "set-cookie", "x"], [], "balanced")
    headers = [("Vary", "a"), ("VARY", "b"), ("Set-Cookie", "id=1"), ("Date", "today")]
    assert capture.of(headers) == {
        "http.response.header.vary": ("a", "b"),
        "http.response.header.set_cookie": REDACTED,
    }
    many = capture.of([("X", "y" * 5000)] * 1000)["http.response.header.x"]
    assert len(many) == MAX_VALUES and {len(value) for value in many} == {MAX_VALUE_LENGTH}


def test_bad_pattern() -> None:
    """A pattern that does not compile is an error of the start."""
    with pytest.raises(re.error):
        HeaderCapture("request", ["("], [], "off")


@given(st.lists(st.tuples(ANY_TEXT, ANY_TEXT)))
def test_any_header(headers: list[tuple[str, str]]) -> None:
    """Whatever a client sends, every value can be sent on."""
    capture = HeaderCapture("request", [".*"], [".*x.*"], "balanced")
    environ = {f"HTTP_{name}": value for name, value in headers}
    for values in (*capture.of(headers).values(), *capture.of_request(environ).values()):
        assert all(value.encode() or not value for value in values)
