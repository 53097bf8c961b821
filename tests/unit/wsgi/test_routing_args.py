"""Templates from ``wsgiorg.routing_args``: of real applications of WebOb, and of any values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from webob import Request, Response
from webob.dec import wsgify

from avatar_telemetry.profiles.generic import PROFILE as GENERIC
from avatar_telemetry.profiles.model import Route
from avatar_telemetry.wsgi import routing_args
from avatar_telemetry.wsgi.routing_args import RoutingArgs, parts_of, template_of
from tests.support.recorder import Recorder, watched
from tests.support.routes import route_of

PATTERNS = (
    r"/", r"/about", r"/users/(?P<id>\d+)", r"/users/(?P<id>\d+)/edit/?", r"/files/(?P<rest>.+)",
    r"/(?P<lang>en|de)/of/\w+", r"/day/(\d+)/(\d+)", r"/list(?:/(?P<page>\d+))?",
)  # fmt: skip


def site(patterns: tuple[str, ...] = PATTERNS, status: int = 200) -> Any:
    """An application of WebOb that routes with regular expressions."""

    @wsgify
    def application(request: Request) -> Response:
        for pattern in patterns:
            match = re.fullmatch(pattern, request.path_info)
            if match:
                request.urlvars = match.groupdict()
                if not request.urlvars:
                    request.urlargs = match.groups()
                return Response(status=status)
        return Response(status=404)

    return application


@pytest.fixture
def generic(tmp_path) -> Iterator[Recorder]:
    yield from watched(Recorder(tmp_path, GENERIC, traced=True))


def routes_of(recorder: Recorder, application: Any, *paths: str) -> list[str]:
    return [route_of(recorder, application, path)[1] for path in paths]


@pytest.mark.parametrize(
    ("paths", "template"),
    [
        pytest.param(("/users/7", "/users/8"), "/users/{id}", id="named"),
        pytest.param(("/users/7/edit", "/users/8/edit"), "/users/{id}/edit", id="literal after"),
        pytest.param(("/users/7/edit/", "/users/8/edit/"), "/users/{id}/edit/", id="slash"),
        pytest.param(("/day/1/2", "/day/1/3"), "/day/{any}/{any}", id="positional"),
        pytest.param(("/files/a/b", "/files/c"), "/files/{rest}", id="several segments"),
        pytest.param(("/files/\xc3\xa9", "/files/x"), "/files/{rest}", id="not ASCII"),
        pytest.param(("/files/a b", "/files/%41"), "/files/{rest}", id="space and percent"),
    ],
)
def test_a_second_request_confirms_a_template(
    generic: Recorder, paths: tuple[str, ...], template: str
) -> None:
    """The first request of a template is other, one with other values shows what is constant."""
    app = site()
    assert routes_of(generic, app, paths[0], *paths, paths[0]) == [
        "other", "other", template, template,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "paths",
    [
        pytest.param(("/about", "/about"), id="no values"),
        pytest.param(("/users/7", "/users/7"), id="the same values"),
        pytest.param(("/en/of/bob", "/de/of/ann", "/en/of/joe"), id="a part without a name"),
        pytest.param(("/list", "/list"), id="an optional part"),
        pytest.param(("/bob", "/ann"), id="no route"),
        pytest.param(("/files/files", "/files/of/files"), id="a value that is literal text, too"),
        pytest.param(("/files//a", "/files//b"), id="empty segments"),
    ],
)
def test_what_nothing_confirms_is_other(generic: Recorder, paths: tuple[str, ...]) -> None:
    """Text that may be the client's is no template."""
    assert set(routes_of(generic, site(), *paths)) == {"other"}


def test_the_root_needs_no_confirmation(generic: Recorder) -> None:
    """Its path contains nothing."""
    assert routes_of(generic, site(), "/") == ["/"]


@pytest.mark.parametrize("status", [400, 403, 404, 405, 410])
def test_a_refused_request_confirms_nothing(generic: Recorder, status: int) -> None:
    """A scanner gets such a response for any path; a page that is confirmed keeps its template."""
    paths = "/users/7", "/users/8", "/users/9", "/"
    assert set(routes_of(generic, site(status=status), *paths)) == {"other"}
    assert routes_of(generic, site(), "/users/7", "/users/8") == ["other", "/users/{id}"]
    assert route_of(generic, site(status=status), "/users/9")[:2] == (str(status), "/users/{id}")


def test_an_exception_has_a_confirmed_template(generic: Recorder) -> None:
    """A failure that passes to the server is counted by its route."""

    def failing(environ, start_response):
        environ["wsgiorg.routing_args"] = ((), {"id": "9"})
        raise OSError("bob")

    routes_of(generic, site(), "/users/7", "/users/8")
    assert route_of(generic, failing, "/users/9")[:2] == ("500", "/users/{id}")


def test_templates_are_bounded(generic: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """An application that invents the names of its parts does not fill the metrics."""
    monkeypatch.setattr(routing_args, "MAX_TEMPLATES", 3)

    def application(environ, start_response):
        environ["wsgiorg.routing_args"] = ((), {environ["HTTP_NAME"]: environ["HTTP_VALUE"]})
        start_response("200 OK", [])
        return [b"x"]

    routes = set()
    for name in range(9):
        for value in "ab":
            environ = {"HTTP_NAME": f"n{name}", "HTTP_VALUE": value}
            routes.add(route_of(generic, application, f"/x/{value}", **environ)[1])
    assert len(routes - {"other"}) == 3


def test_candidates_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text of clients that is in no template is forgotten."""
    monkeypatch.setattr(routing_args, "MAX_CANDIDATES", 10)
    known = RoutingArgs()
    for number in range(100):
        assert not known._confirms(f"/x{number}/{{id}}", 1, "200")
        assert len(known._candidates) <= 10


def test_a_profile_of_its_own(tmp_path, generic: Recorder) -> None:
    """Nothing is read without ``application_routes``, and a route of the profile stays."""
    route = Route(r"^/users/", "/users")
    recorder = generic.using(application_routes=False)
    assert routes_of(recorder, site(), "/users/7", "/users/8") == ["other", "other"]
    recorder = recorder.using(application_routes=True, routes=(route,))
    assert route_of(recorder, site(), "/users/9")[1] == "/users"
    recorder.book.detach()


def test_it_can_be_turned_off(generic: Recorder) -> None:
    """``routing_args`` is one of the probes."""
    off = generic.set(AVATAR_TELEMETRY_PROBES="-routing_args")
    assert routes_of(off, site(), "/users/7", "/users/8", "/") == ["other"] * 3
    off.book.detach()


@pytest.mark.parametrize(
    "arguments",
    [
        None, 7, "ab", (), ((), {}, {}), [(), {}], (7, {}), ("ab", {}), ((), []), ((), {7: "a"}),
        ((), {"a b": "a"}), ((), {"a": 1.5}), ((), {"a": b"a"}), ((), {"a": object()}),
        ((), {"a": True}), (["a"] * 17, {}), ((object(),), {}), ((), {"x" * 33: "a"}),
    ],
)  # fmt: skip
def test_values_of_another_structure_are_left_alone(generic: Recorder, arguments: object) -> None:
    """A router may put anything there; that is no failure."""

    def application(environ, start_response):
        environ["wsgiorg.routing_args"] = arguments
        start_response("200 OK", [])
        return [b"x"]

    assert parts_of(arguments) is None
    assert routes_of(generic, application, "/a/b", "/a/c") == ["other"] * 2


@pytest.mark.parametrize(
    ("path", "positional", "named", "template"),
    [
        pytest.param("/users/7", (), {"id": 7}, "/users/{id}", id="number"),
        pytest.param("/users/07", (), {"id": 7}, None, id="another spelling"),
        pytest.param("/users/Bob", (), {"name": "bob"}, None, id="another case"),
        pytest.param("/users/7", (), {"id": "7", "action": "show"}, None, id="not in the path"),
        pytest.param("/users/7", (), {"id": "7", "page": None}, "/users/{id}", id="absent"),
        pytest.param("/users/7", (), {"id": "7", "page": ""}, "/users/{id}", id="empty"),
        pytest.param("/7/7", (), {"id": "7"}, None, id="once a part, twice in the path"),
        pytest.param("/7/7", (), {"a": "7", "b": "7"}, "/{a}/{b}", id="twice both"),
        pytest.param("/users/users", (), {"name": "users"}, None, id="literal text"),
        pytest.param("/a/b/c", (), {"path": "a/b"}, "/{path}/c", id="segments"),
        pytest.param("/a/b/c", (), {"path": "/b/c"}, "/a/{path}", id="with a slash"),
        pytest.param("/a/b/a/b", (), {"path": "a/b"}, None, id="segments twice"),
        pytest.param("/a/b", (), {"path": "a/b", "x": "b"}, None, id="overlap"),
        pytest.param("/cat.png", (), {"name": "cat"}, None, id="a part of a segment"),
        pytest.param("/7/x", ("7",), {"x": "x"}, "/{any}/{x}", id="both kinds"),
        pytest.param("/a/{id}", (), {"id": "{id}"}, "/a/{id}", id="braces"),
        pytest.param("/{id}/7", (), {"id": "7"}, None, id="braces that remain"),
        pytest.param("/a/./7", (), {"id": "7"}, None, id="dots"),
        pytest.param("/a//7", (), {"id": "7"}, None, id="two slashes"),
        pytest.param("//7", (), {"id": "7"}, None, id="two slashes at the start"),
        pytest.param("/12345/7", (), {"id": "7"}, None, id="number that remains"),
        pytest.param("/a@b.org/7", (), {"id": "7"}, None, id="address that remains"),
        pytest.param("/d41d8cd98f00b204/7", (), {"id": "7"}, None, id="digest that remains"),
        pytest.param("/a%40b/7", (), {"id": "7"}, None, id="encoded text that remains"),
        pytest.param("/caf\xe9/7", (), {"id": "7"}, None, id="not ASCII, remains"),
        pytest.param("/" + "a" * 33 + "/7", (), {"id": "7"}, None, id="long text that remains"),
        pytest.param("/a/7\n", (), {"id": "7"}, None, id="line break"),
        pytest.param("/a\n/7", (), {"id": "7"}, None, id="line break that remains"),
        pytest.param("/api/v1/.well-known/robots.txt/x_y/7", (), {"id": "7"},
                     "/api/v1/.well-known/robots.txt/x_y/{id}", id="text of patterns"),
        pytest.param("/" + "a/" * 99 + "7", (), {"id": "7"}, None, id="too long"),
        pytest.param("/" + "7" * 1100, (), {"id": "7" * 1100}, None, id="too long a path"),
        pytest.param("", (), {}, "/", id="no path"),
    ],
)  # fmt: skip
def test_the_template_of_a_path(
    path: str, positional: tuple[str, ...], named: dict[str, Any], template: str | None
) -> None:
    """Names stand for whole segments; where that is not certain, there is no template."""
    parts = parts_of((positional, named))
    assert parts is not None
    assert template_of(path, parts) == template


WORDS = st.sampled_from(["users", "edit", "a", "v1", "of"])
VALUES = st.text(min_size=1, max_size=8) | st.sampled_from(["a", "edit", "a/b", "/", "{x}", "0"])
PIECES = st.lists(
    st.one_of(
        WORDS.map(lambda word: (None, word)),
        st.tuples(
            st.sampled_from(["id", "name", "rest"]),
            VALUES.filter(lambda value: value.strip("/") == value),
        ),
    ),
    min_size=1, max_size=6, unique_by=lambda piece: piece[0] or object(),
)  # fmt: skip


@given(PIECES)
def test_a_template_is_the_pattern_or_none(pieces: list[tuple[str | None, str]]) -> None:
    """Whatever the values, the template is that of the pattern, or there is none."""
    path = "/" + "/".join(text for _, text in pieces)
    named = {name: text for name, text in pieces if name}
    parts = parts_of(((), named))
    assert parts is not None
    template = template_of(path, parts)
    pattern = "/" + "/".join(f"{{{name}}}" if name else text for name, text in pieces)
    if template is not None:
        # Equal values are interchangeable.
        assert sorted(template) == sorted(pattern)
        assert len(set(named.values())) < len(named) or template == pattern


@given(
    st.text(max_size=40),
    st.lists(VALUES, max_size=3),
    st.dictionaries(st.sampled_from(["id", "name"]), VALUES | st.none() | st.integers()),
)
def test_a_template_contains_only_words_and_names(
    path: str, positional: list[str], named: dict[str, Any]
) -> None:
    """Whatever path and values are, a template has nothing but words and the names of its parts."""
    parts = parts_of((positional, named))
    template = template_of("/" + path, parts) if parts is not None else None
    if template is not None:
        assert re.fullmatch(r"(?:/(?:\{(?:any|id|name)\}|[A-Za-z0-9._-]+))*/?", template)
        assert quote(template, safe="/{}") == template


@given(
    st.lists(
        st.tuples(st.sampled_from(["en", "de", "fr"]), st.text("abc", min_size=1)), max_size=30
    )
)
def test_text_of_one_request_is_in_no_template(visits: list[tuple[str, str]]) -> None:
    """A word that appears with one value only is never recorded."""
    known = RoutingArgs()
    for lang, word in visits:
        parts = parts_of(((), {"lang": lang}))
        assert parts is not None
        template = template_of(f"/{lang}/of/{word}", parts)
        used = template is not None and known._confirms(template, hash(parts), "200")
        assert not used or len({seen for seen, other in visits if other == word}) > 1
