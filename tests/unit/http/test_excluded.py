"""URLs without spans."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_telemetry.http.excluded import ExcludedUrls

# With lone surrogates, which no bytes decode to and nothing can encode.
ANY_TEXT = st.text(st.characters() | st.sampled_from("\ud800\udfff\xe9"))


def environ(path: str, **more: str) -> dict[str, str]:
    return {"wsgi.url_scheme": "http", "HTTP_HOST": "a.example", "PATH_INFO": path, **more}


@pytest.mark.parametrize(
    ("pattern", "path", "found"),
    [
        pytest.param("/stats/", "/stats/", True, id="path"),
        pytest.param("stats", "/x/stats/y", True, id="anywhere"),
        pytest.param("health$", "/health", True, id="anchored"),
        pytest.param("health$", "/healthy", False, id="anchored-elsewhere"),
        pytest.param("^http://a.example/x", "/xy", True, id="whole-url"),
        pytest.param("/caf%C3%A9", "/caf\xc3\xa9", True, id="percent-encoded"),
        pytest.param("^http://b.example/x", "/x", False, id="other-host"),
        pytest.param("a.example", "/", False, id="host-of-the-client"),
        pytest.param("^/health", "/health", True, id="anchored-path"),
        pytest.param("/app/x", "/x", False, id="no-script-name"),
        pytest.param("hidden", "/" + "x" * 600 + "/hidden", True, id="long"),
    ],
)
def test_contains(pattern: str, path: str, found: bool) -> None:
    """Each pattern is searched in the URL as it was sent."""
    assert ExcludedUrls(["nothing", pattern]).contains(environ(path)) is found


def test_mounted_application() -> None:
    """The place where the application is mounted is part of the URL."""
    assert ExcludedUrls(["/app/x"]).contains(environ("/x", SCRIPT_NAME="/app"))


def test_no_client_hides_behind_a_query() -> None:
    """The query string is no part of what is searched."""
    assert not ExcludedUrls(["health"]).contains(environ("/", QUERY_STRING="health"))


@pytest.mark.parametrize("patterns", [[], [""], [" ", ""]])
def test_blank_patterns_exclude_nothing(patterns: list[str]) -> None:
    """A comma too many does not switch all spans off."""
    excluded = ExcludedUrls(patterns)
    assert not excluded
    assert not excluded.contains(environ("/"))


def test_bad_pattern() -> None:
    """A pattern that does not compile is an error of the start."""
    with pytest.raises(re.error):
        ExcludedUrls(["("])


KEYS = ("wsgi.url_scheme", "HTTP_HOST", "SERVER_NAME", "SCRIPT_NAME", "PATH_INFO")


@given(st.dictionaries(st.sampled_from(KEYS), ANY_TEXT))
def test_any_request(sent: dict[str, str]) -> None:
    """Whatever is sent, the answer is yes or no."""
    assert ExcludedUrls(["[0-9]+x"]).contains(sent) in (True, False)
