"""The route by which a request was recorded."""

from __future__ import annotations

from typing import Any

from avatar_telemetry.wsgi.request import ENVIRON_KEY
from tests.support.recorder import Recorder
from tests.support.wsgi_client import call, make_environ


def route_of(
    recorder: Recorder, application: Any, path: str, **more: Any
) -> tuple[str, str, str | None]:
    """Make a request, and give its status, its route, and its view.

    Args:
        recorder: records spans, too, which agree with the metrics on the routes.
        application: what to wrap; an ``OSError`` of it is status 500.
        path: of the request.
        more: for the environ, as of :func:`make_environ`.
    """
    before = len(recorder.spans)
    environ = make_environ(path, **more)
    try:
        status = call(recorder.wrap(application), environ).status[:3]
    except OSError:
        status = "500"
    finally:
        del environ[ENVIRON_KEY]  # Bottle keeps the environ of its last request
    spans = [span for span in recorder.spans if span.kind.name == "SERVER"]
    routes = [str(span.attributes.get("http.route", "other")) for span in spans]
    (span,) = [span for span in recorder.spans[before:] if span.kind.name == "SERVER"]
    route = routes[-1]
    assert recorder.value("ivatar_requests_total", path=route) == routes.count(route)
    assert span.name.partition(" ")[2] == ("" if route == "other" else route)
    return status, route, span.attributes.get("ivatar.view")
