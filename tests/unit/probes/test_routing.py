"""The wrapper of routers, and the small application with each router that has a probe."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from avatar_telemetry.probes import LIBRARY_PROBES
from avatar_telemetry.probes.routing import MAX_TEMPLATE_LENGTH, bounded, observe_router
from tests.support.paths import REPOSITORY
from tests.support.recorder import Recorder
from tests.support.routed_apps import APPS
from tests.support.routes import route_of
from tests.support.wsgi_client import call

PROBES = {"bottle": "bottle", "falcon": "falcon", "flask": "werkzeug", "pyramid": "pyramid"}
USERS = {
    "bottle": ("/users/<id:int>", "show_user"),
    "falcon": ("/users/{id:int}", "User"),
    "flask": ("/users/<int:id>", "show_user"),
    "pyramid": (r"/users/{id:\d+}", "show_user"),
}
MISSING = {
    "bottle": "/missing/<name>",
    "falcon": "/missing/{name}",
    "flask": "/missing/<name>",
    "pyramid": "/missing/{name}",
}


@pytest.fixture(params=APPS)
def framework(request: pytest.FixtureRequest) -> str:
    """Each framework, with its probe."""
    LIBRARY_PROBES[PROBES[request.param]]()
    return str(request.param)


def test_a_request_goes_by_the_route_of_the_application(framework: str, generic: Recorder) -> None:
    """The template is the framework's own text, in metrics and spans, and the view has a name."""
    found = route_of(generic, APPS[framework](), "/users/7")
    assert found == ("200", *USERS[framework])


def test_a_view_that_fails_has_its_route(framework: str, generic: Recorder) -> None:
    """A failure is counted where it happened."""
    assert route_of(generic, APPS[framework](), "/fail")[:2] == ("500", "/fail")


def test_a_view_that_finds_nothing_has_its_route(framework: str, generic: Recorder) -> None:
    """A 404 of the view, after the route was found, is one of that route."""
    found = route_of(generic, APPS[framework](), "/missing/bob")
    assert found[:2] == ("404", MISSING[framework])


@pytest.mark.parametrize("path", ["/bob@example.com", "/users/bob", "/users/", "//", "/\xc3\xa9"])
def test_a_path_without_a_route_is_other(framework: str, generic: Recorder, path: str) -> None:
    """A path that the router does not find has no template."""
    status, route, view = route_of(generic, APPS[framework](), path)
    assert (status[0], route, view) == ("4", "other", None)


def test_the_first_route_counts(framework: str, generic: Recorder) -> None:
    """A view that asks the router for another path stays that of its own."""
    found = route_of(generic, APPS[framework](), "/links")
    assert found[:2] == ("200", "/links")


def test_outside_of_a_request(framework: str) -> None:
    """The framework routes as it does without a probe."""
    assert call(APPS[framework](), path="/users/7").status[:3] == "200"


def test_an_application_that_was_made_before_its_probe(framework: str) -> None:
    """Workers install probes after the import of the application; in Flask's case four lines."""
    program = f"""
import sys, tempfile
from pathlib import Path
from avatar_telemetry.profiles.generic import PROFILE
from tests.support.recorder import Recorder
from tests.support.routed_apps import APPS
from tests.support.routes import route_of
application = APPS[{framework!r}]()
from avatar_telemetry.probes import install_probes
install_probes(PROFILE)
with tempfile.TemporaryDirectory() as folder:
    recorder = Recorder(Path(folder), PROFILE, traced=True)
    print(*route_of(recorder, application, "/users/7"))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["200", *USERS[framework]]


def test_with_a_probe_that_is_off(generic: Recorder) -> None:
    """A router without its probe is not observed, and nothing depends on the probe."""

    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"x"]

    assert route_of(generic, application, "/users/7") == ("200", "other", None)


@pytest.mark.parametrize(
    ("find", "failures"),
    [
        pytest.param(lambda *args, **kwargs: None, 0, id="no route"),
        pytest.param(lambda *args, **kwargs: 1 // 0, 1, id="another router"),
        pytest.param(lambda *args, **kwargs: (None, "view"), 1, id="no text"),
    ],
)
def test_a_router_of_the_applications_own(tmp_path, find: Any, failures: int) -> None:
    """A result that is none of the framework's is left alone, and counted as our failure."""
    recorder = Recorder(tmp_path)
    found = object()

    def application(environ, start_response):
        assert observe_router(find)(lambda *args, **kwargs: found)(1, two=2) is found
        start_response("200 OK", [])
        return [b"x"]

    call(recorder.wrap(application))
    assert recorder.value("avatar_telemetry_internal_errors_total", where="probes") == failures
    recorder.book.detach()


@pytest.mark.parametrize("view", [None, 7, ("a", "b"), print])
def test_a_view_that_is_no_text_has_no_name(generic: Recorder, view: object) -> None:
    """An endpoint may be any object; its address and its data are no name."""

    def application(environ, start_response):
        observe_router(lambda *args: ("/x", view))(lambda: None)()
        start_response("200 OK", [])
        return [b"x"]

    assert route_of(generic, application, "/x") == ("200", "/x", None)


@pytest.mark.parametrize(
    ("text", "template"),
    [("users", "/users"), ("//users", "/users"), ("", "/"), ("x" * 999, None)],
)
def test_a_template_begins_with_a_slash_and_has_an_end(text: str, template: str | None) -> None:
    """Like that of Django, and no longer than a label should be."""
    assert bounded(text) == (template or "/" + "x" * (MAX_TEMPLATE_LENGTH - 1))
