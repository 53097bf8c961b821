"""The probe of Pyramid's URL dispatch."""

from __future__ import annotations

import pytest

from avatar_telemetry.probes import pyramid as probe
from tests.support.recorder import Recorder
from tests.support.requirements import require
from tests.support.routed_apps import pyramid_app
from tests.support.routes import route_of

config = pytest.importorskip("pyramid.config")
response = pytest.importorskip("pyramid.response").Response
probe.install()


@pytest.mark.parametrize(
    ("method", "expected"),
    [("POST", ("200", "/form", "post_only")), ("GET", ("404", "other", None))],
)
def test_a_predicate_is_a_part_of_the_route(
    generic: Recorder, method: str, expected: tuple[str, str, str | None]
) -> None:
    """A route that its predicates refuse is not found."""
    assert route_of(generic, pyramid_app(), "/form", method=method) == expected


def test_a_subrequest_is_not_the_request(generic: Recorder) -> None:
    """A tween that asks for another page first does not name the request by it."""

    def tween_factory(handler, registry):
        def tween(request):
            if request.path != "/inner":
                request.invoke_subrequest(require("pyramid.request").Request.blank("/inner"))
            return handler(request)

        return tween

    with config.Configurator() as configured:
        for name in ("inner", "outer"):
            configured.add_route(name, f"/{name}")
            configured.add_view(lambda request: response("x"), route_name=name)
        probe_name = f"{__name__}.TWEEN"
        globals()["TWEEN"] = tween_factory
        configured.add_tween(probe_name)
        app = configured.make_wsgi_app()
    assert route_of(generic, app, "/outer") == ("200", "/outer", "outer")


def test_traversal_has_no_route(generic: Recorder) -> None:
    """A page that was found without a route is other, whatever its path."""
    with config.Configurator() as configured:
        configured.add_view(lambda request: response("x"), name="bob")
        app = configured.make_wsgi_app()
    assert route_of(generic, app, "/bob") == ("200", "other", None)


def test_the_rest_of_a_path(generic: Recorder) -> None:
    """A pattern keeps its own text, of any kind."""
    with config.Configurator() as configured:
        configured.add_route("files", "files/*subpath")
        configured.add_view(lambda request: response("x"), route_name="files")
        app = configured.make_wsgi_app()
    assert route_of(generic, app, "/files/bob/x") == ("200", "/files/*subpath", "files")
