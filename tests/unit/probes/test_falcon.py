"""The probe of Falcon's router."""

from __future__ import annotations

import pytest

from avatar_telemetry.probes import falcon as probe
from tests.support.recorder import Recorder
from tests.support.requirements import require
from tests.support.routed_apps import falcon_app
from tests.support.routes import route_of

falcon = pytest.importorskip("falcon")
probe.install()


@pytest.mark.parametrize(
    ("path", "method", "expected"),
    [
        pytest.param("/users/7", "POST", ("405", "other", None), id="method"),
        pytest.param("/users/7", "FOO", ("400", "other", None), id="unknown method"),
        pytest.param("/users/7", "OPTIONS", ("200", "/users/{id:int}", "User"), id="options"),
        pytest.param("/sink/bob", "GET", ("200", "other", None), id="sink"),
    ],
)
def test_what_is_no_route(
    generic: Recorder, path: str, method: str, expected: tuple[str, str, str | None]
) -> None:
    """A refused method is other, and so is a sink, which has no template."""
    assert route_of(generic, falcon_app(), path, method=method) == expected


def test_a_router_without_templates(generic: Recorder) -> None:
    """A router of the application's own, which returns three values, is left alone."""

    class Page:
        def on_get(self, req, resp):
            resp.text = "x"

    page = Page()

    class Router:
        def add_route(self, *args, **kwargs):
            raise AssertionError("no route is added")

        def find(self, uri, req=None):
            return page, {"GET": page.on_get}, {}

    assert route_of(generic, falcon.App(router=Router()), "/bob") == ("200", "other", None)


def test_middleware_that_responds_itself(generic: Recorder) -> None:
    """A response before the routing has no route."""

    class Closed:
        def process_request(self, req, resp):
            resp.complete = True

    app = falcon_app()
    app.add_middleware(Closed())
    assert route_of(generic, app, "/users/7") == ("200", "other", None)


def test_another_path_asked_before_the_route(generic: Recorder) -> None:
    """Middleware that asks the router for another path does not name the request."""
    app = falcon_app()

    class Asks:
        def process_request(self, req, resp):
            testing = require("falcon.testing")
            app._get_responder(falcon.Request(testing.create_environ("/missing/me")))

    app.add_middleware(Asks())
    assert route_of(generic, app, "/users/7")[1] == "/users/{id:int}"
