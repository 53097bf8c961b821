"""The probe of Werkzeug's router, alone and under Flask."""

from __future__ import annotations

from typing import Any

import pytest

from avatar_telemetry.probes import werkzeug as probe
from tests.support.recorder import Recorder
from tests.support.requirements import require
from tests.support.routed_apps import flask_app
from tests.support.routes import route_of

routing = pytest.importorskip("werkzeug.routing")
probe.install()


def site(ask: Any = lambda adapter: None, bind: Any = None) -> Any:
    """An application of Werkzeug's own, which asks its router before it routes."""
    rules = [
        routing.Rule("/users/<int:id>", endpoint="user", methods=["GET", "DELETE"]),
        routing.Rule("/users/<int:id>", endpoint="change", methods=["POST"]),
        routing.Rule("/folder/", endpoint=print),
        routing.Rule("/old/<name>", endpoint="old", redirect_to="/users/<name>"),
    ]
    map_ = routing.Map(rules)

    def application(environ, start_response):
        adapter = bind(map_) if bind else map_.bind_to_environ(environ)
        ask(adapter)
        try:
            endpoint, values = adapter.match()
        except require("werkzeug.exceptions").HTTPException as error:
            return error(environ, start_response)
        start_response("200 OK", [])
        return [f"{endpoint} {values}".encode()]

    return application


@pytest.mark.parametrize(
    ("path", "method", "expected"),
    [
        pytest.param("/users/7", "GET", ("200", "/users/<int:id>", "user"), id="get"),
        pytest.param("/users/7", "HEAD", ("200", "/users/<int:id>", "user"), id="head"),
        pytest.param("/users/7", "POST", ("200", "/users/<int:id>", "change"), id="post"),
        pytest.param("/folder/", "GET", ("200", "/folder/", None), id="endpoint of another type"),
        pytest.param("/folder", "GET", ("308", "other", None), id="redirect to the slash"),
        pytest.param("/old/bob", "GET", ("308", "other", None), id="redirect of a rule"),
        pytest.param("/users/7", "PUT", ("405", "other", None), id="method"),
        pytest.param("/bob", "GET", ("404", "other", None), id="path"),
    ],
)
def test_the_rule_is_the_path(
    generic: Recorder, path: str, method: str, expected: tuple[str, str, str | None]
) -> None:
    """A request goes by its rule; what the router refuses or redirects is other."""
    assert route_of(generic, site(), path, method=method) == expected


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda adapter: adapter.test("/folder/"), id="test of a path"),
        pytest.param(lambda adapter: adapter.test(method="POST"), id="test of a method"),
        pytest.param(lambda adapter: adapter.match("/folder/"), id="match of a path"),
        pytest.param(lambda adapter: adapter.allowed_methods(), id="methods"),
        pytest.param(lambda adapter: adapter.build("user", {"id": 8}), id="url"),
        pytest.param(lambda adapter: adapter.map.bind("x", path_info="/folder/").match(), id="map"),
        pytest.param(lambda adapter: adapter.test(), id="test of its own"),
    ],
)
def test_questions_change_nothing(generic: Recorder, ask: Any) -> None:
    """Only the match of the request's own path and method counts."""
    assert route_of(generic, site(ask), "/users/7") == ("200", "/users/<int:id>", "user")


def test_an_adapter_that_is_bound_by_hand_is_not_observed(generic: Recorder) -> None:
    """It does not show which request it is for."""
    by_hand = site(bind=lambda map_: map_.bind("x", path_info="/users/7"))
    assert route_of(generic, by_hand, "/users/7") == ("200", "other", None)


@pytest.mark.parametrize(("return_rule", "result"), [(True, "Rule"), (False, "str")])
def test_the_result_is_that_of_the_original(
    generic: Recorder, return_rule: bool, result: str
) -> None:
    """The router still returns the endpoint, or the rule where that is requested."""
    results = []

    def ask(adapter):
        results.append(adapter.match(return_rule=return_rule))

    route_of(generic, site(ask), "/users/7")
    assert type(results[0][0]).__name__ == result
    assert results[0][1] == {"id": 7}


def test_a_mounted_application_has_its_own_rule(generic: Recorder) -> None:
    """The rule has no prefix of the mount; the outer application has no router."""
    dispatcher = require("werkzeug.middleware.dispatcher").DispatcherMiddleware
    app = dispatcher(flask_app(), {"/admin": site()})
    assert route_of(generic, app, "/admin/users/7") == ("200", "/users/<int:id>", "user")
    assert route_of(generic, app, "/users/7")[2] == "show_user"


def test_the_static_files_of_flask(generic: Recorder) -> None:
    """Flask's own route is one of the application's."""
    expected = ("404", "/static/<path:filename>", "static")
    assert route_of(generic, flask_app(), "/static/bob.css") == expected
