"""The WSGI middleware.

    environ -> route -> request in progress -> application -> body -> finished once

It does nothing until a worker starts, so that a gunicorn master (``preload_app``) can create it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from avatar_telemetry._base.guard import Guard
from avatar_telemetry._base.native import uses_greenlets
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.http.environ import text
from avatar_telemetry.metrics.exposition import Access
from avatar_telemetry.metrics.metrics import Metrics
from avatar_telemetry.profiles.model import Profile
from avatar_telemetry.wsgi.body import observe_body
from avatar_telemetry.wsgi.file_wrapper import watch_calls
from avatar_telemetry.wsgi.greenlets import noting_greenlet
from avatar_telemetry.wsgi.request import CONTEXT, CURRENT, ENVIRON_KEY, AvatarRequest
from avatar_telemetry.wsgi.routing_args import RoutingArgs
from avatar_telemetry.wsgi.server_timing import TimedRequest
from avatar_telemetry.wsgi.switch import has_switched, took_socket
from avatar_telemetry.wsgi.telemetry import Telemetry

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from avatar_telemetry.wsgi.request_spans import RequestTracing


class Layer:
    """The state of the middleware of one application in one process.

    Args:
        telemetry: the telemetry of its requests.
        settings: the settings of requests and of the metrics page.
        page: the WSGI application of the metrics page.
    """

    def __init__(self, telemetry: Telemetry, settings: Settings, page: WSGIApplication) -> None:
        self.telemetry = telemetry
        self.page = page
        # An object equals no path, also not None: PATH_INFO may be absent (PEP 3333).
        self.page_path: object = settings.metrics_path or object()
        self.stale = False
        names_routes = telemetry.profile.application_routes
        is_on = names_routes and "routing_args" not in settings.probes_off
        self.routing_args = RoutingArgs() if is_on else None
        begin: Callable[..., AvatarRequest]
        begin = TimedRequest if settings.server_timing else AvatarRequest
        if settings.slow_stack and uses_greenlets():
            begin = noting_greenlet(begin)
        self._begin = begin
        self._access = Access(settings.metrics_allow, settings.metrics_token)

    def serves(self, environ: WSGIEnvironment) -> bool:
        """Return whether the metrics page responds to a request for its path."""
        return environ.get("REQUEST_METHOD") in ("GET", "HEAD") and self._access.permits(environ)

    def begin(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> AvatarRequest | None:
        """Begin to record a request; ``None`` if it is recorded already, or cannot be."""
        if ENVIRON_KEY in environ and _is_inside(environ[ENVIRON_KEY]):
            return None  # wrapped twice, with another middleware in between
        telemetry = self.telemetry
        try:
            path = environ.get("PATH_INFO", "")
            route = telemetry.profile.route(path if type(path) is str else text(path))
            request = self._begin(telemetry, environ, route, start_response)
        except Exception:  # noqa: BLE001 - nothing that a client sends may stop the application
            telemetry.guard.failed("begin")
            return None
        environ[ENVIRON_KEY] = request
        wrapper = environ.get("wsgi.file_wrapper")
        if wrapper is not None and not isinstance(wrapper, type):
            watch_calls(environ, wrapper)
        if route.kind == "upload":
            request.observe_upload(environ)
        return request


def build_layer(
    settings: Settings,
    profile: Profile,
    metrics: Metrics,
    guard: Guard,
    page: WSGIApplication,
    tracing: RequestTracing | None = None,
) -> Layer:
    """Build the state of the middleware from its parts.

    Args:
        settings: the sizes that are labels, the exemplar filter, and the settings of the metrics
            page.
        profile: the profile of the application.
        metrics: the instruments.
        guard: the guard that counts errors of this package.
        page: the WSGI application that responds to a scrape.
        tracing: the spans of requests; ``None`` where they are not recorded.
    """
    sizes = {size: str(size) for size in settings.sizes}
    telemetry = Telemetry(metrics, guard, profile, sizes, tracing, settings.exemplar_filter)
    return Layer(telemetry, settings, page)


class TelemetryMiddleware:
    """A WSGI application that calls another one and records each of its requests.

    Args:
        application: the other WSGI application.
        find_layer: a function that returns the layer of this process; never raises.
    """

    def __init__(self, application: WSGIApplication, find_layer: Callable[[], Layer]) -> None:
        self.application = application
        self._find_layer = find_layer
        self._layer: Layer | None = None

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        layer = self._layer
        if layer is None or layer.stale:
            layer = self._layer = self._find_layer()
        if environ.get("PATH_INFO") == layer.page_path and layer.serves(environ):
            return layer.page(environ, start_response)
        request = layer.begin(environ, start_response)
        if request is None:
            return self.application(environ, start_response)
        # Inlined AvatarRequest.enter and leave, to save two calls.
        context = request.context
        token = CURRENT.set(request)
        attached = None if context is None else CONTEXT.set(context)
        try:
            body = self.application(environ, request.start_response)
        except BaseException as error:
            if layer.routing_args is not None:
                layer.routing_args.observe(request, environ)
            if "HTTP_UPGRADE" in environ and took_socket(environ, error):
                request.switched()
            else:
                request.failed(error)
            raise
        finally:
            if attached is not None:
                CONTEXT.reset(attached)
            CURRENT.reset(token)
        if layer.routing_args is not None:
            layer.routing_args.observe(request, environ)
        if "HTTP_UPGRADE" in environ and has_switched(request, environ, body):
            request.switch()
        return observe_body(body, request, environ)


def _is_inside(outer: AvatarRequest) -> bool:
    """Return whether this call is a part of a request that an outer middleware records.

    An environ may be used again after the end of a request, or before its body is read.
    """
    return not outer.finished and (CURRENT.get() is outer or not outer.status)
