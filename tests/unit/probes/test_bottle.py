"""The probe of Bottle's router."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from avatar_telemetry.probes import bottle as probe
from tests.support.recorder import Recorder
from tests.support.routed_apps import bottle_app
from tests.support.routes import route_of

bottle = pytest.importorskip("bottle")
probe.install()


@pytest.mark.parametrize(("method", "status"), [("POST", "405"), ("FOO", "405")])
def test_a_refused_method_is_other(generic: Recorder, method: str, status: str) -> None:
    """The router refuses it before a route is found."""
    found = route_of(generic, bottle_app(), "/users/7", method=method)
    assert found == (status, "other", None)


def test_a_callback_without_a_name(generic: Recorder) -> None:
    """The view has none then; the rule is there."""
    app = bottle.Bottle()
    app.route("/page/<page>")(functools.partial(lambda site, page: page, "site"))
    assert route_of(generic, app, "/page/bob") == ("200", "/page/<page>", None)


def test_a_mounted_application(generic: Recorder) -> None:
    """The rule of the outer application counts for one of WSGI, which it finds first."""

    def inner(environ: Any, start_response: Any) -> Any:
        return bottle_app()(environ, start_response)

    app = bottle.Bottle()
    app.mount("/admin/", inner)
    status, route, _ = route_of(generic, app, "/admin/users/7")
    assert (status, route) == ("200", "/admin/<:re:.*>")


def test_another_path_asked_before_the_route(generic: Recorder) -> None:
    """A hook that asks the router for another path does not name the request."""
    app = bottle_app()

    @app.hook("before_request")
    def ask():
        app.router.match({"REQUEST_METHOD": "GET", "PATH_INFO": "/missing/me"})

    assert route_of(generic, app, "/users/7")[1] == "/users/<id:int>"
