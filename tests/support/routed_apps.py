"""The same small application in each framework whose router a probe observes.

Each has a user's page (``/users/`` and a number), a page that fails (``/fail``), a page that finds
nothing (``/missing/`` and a name), and a page whose view asks the router for other paths before the
response (``/links``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.support.requirements import require


def bottle_app() -> Any:
    bottle = require("bottle")
    app = bottle.Bottle()

    @app.get("/users/<id:int>")
    def show_user(id):
        return str(id)

    @app.get("/fail")
    def fail():
        raise OSError("bob")

    @app.get("/missing/<name>")
    def find_nothing(name):
        bottle.abort(404)

    @app.get("/links")
    def links():
        path = {"REQUEST_METHOD": "GET", "PATH_INFO": "/missing/me"}
        return app.router.match(path)[0].rule

    return app


def falcon_app() -> Any:
    falcon = require("falcon")

    class User:
        def on_get(self, req, resp, id):
            resp.text = str(id)

    class Failing:
        def on_get(self, req, resp):
            raise OSError("bob")

    class Missing:
        def on_get(self, req, resp, name):
            raise falcon.HTTPNotFound

    class Links:
        def on_get(self, req, resp):
            other = falcon.Request({**req.env, "PATH_INFO": "/missing/me"})
            resp.text = app._get_responder(other)[3]

    app = falcon.App()
    app.add_route("/users/{id:int}", User())
    app.add_route("/fail", Failing())
    app.add_route("/missing/{name}", Missing())
    app.add_route("/links", Links())
    app.add_sink(lambda req, resp: setattr(resp, "text", "sink"), "/sink/")
    return app


def flask_app() -> Any:
    flask = require("flask")
    app = flask.Flask("routed")

    @app.get("/users/<int:id>")
    def show_user(id):
        return str(id)

    @app.get("/fail")
    def fail():
        raise OSError("bob")

    @app.get("/missing/<name>")
    def find_nothing(name):
        flask.abort(404)

    @app.get("/links")
    def links():
        with app.test_request_context("/missing/me") as context:
            return context.request.url_rule.rule

    return app


def pyramid_app() -> Any:
    config_module = require("pyramid.config")
    http, request = require("pyramid.httpexceptions"), require("pyramid.request")
    response = require("pyramid.response").Response

    def fail(http_request):
        raise OSError("bob")

    def find_nothing(http_request):
        raise http.HTTPNotFound

    def links(http_request):
        other = request.Request.blank("/missing/me")
        mapper = http_request.registry.getUtility(require("pyramid.interfaces").IRoutesMapper)
        return response(mapper(other)["route"].pattern)

    with config_module.Configurator() as config:
        for name, pattern, view in (
            ("show_user", r"/users/{id:\d+}", lambda http_request: response("user")),
            ("fail", "/fail", fail),
            ("find_nothing", "missing/{name}", find_nothing),
            ("links", "/links", links),
        ):
            config.add_route(name, pattern)
            config.add_view(view, route_name=name)
        config.add_route("post_only", "/form", request_method="POST")
        config.add_view(lambda http_request: response("form"), route_name="post_only")
        return config.make_wsgi_app()


APPS: dict[str, Callable[[], Any]] = {
    "bottle": bottle_app, "falcon": falcon_app, "flask": flask_app, "pyramid": pyramid_app,
}  # fmt: skip
