"""The common part of the HTTP client probes: one count and one span per call, however nested.

Paths and queries of the services hold digests: they are recorded in privacy mode ``off`` only.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar, Token
from functools import lru_cache
from importlib.metadata import version
from time import perf_counter
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from avatar_telemetry.http import labels
from avatar_telemetry.probes.policy import POLICY
from avatar_telemetry.probes.spans import end, fail, span_wanted
from avatar_telemetry.wsgi.request import CURRENT, AvatarRequest

NOT_FOUND = (404, 410)
IN_CALL: ContextVar[OutsideCall | None] = ContextVar("avatar_telemetry.outside", default=None)
# Semantic conventions for HTTP: the method of a span where it is unknown.
UNKNOWN_METHOD = "_OTHER"


class Target(NamedTuple):
    """The target of a call.

    Args:
        host: the host name, without the port.
        method: the HTTP method.
        url: the whole URL, recorded in privacy mode ``off`` only.
    """

    host: str
    method: str
    url: str


Describe = Callable[..., "Target | None"]
"""Returns the target of a call from its arguments; ``None`` where it does not use HTTP."""


def target(method: str, url: str) -> Target | None:
    """Return the target of a URL, ``None`` where it is not one of HTTP."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    return Target(parts.hostname, method, url)


def succeeded(status: int) -> bool:
    """Return whether a status is a success; that of a missing picture is one, too."""
    return 0 < status < 400 or status in NOT_FOUND


class OutsideCall:
    """One call: a context manager, or an object to be closed. Never raises.

    Args:
        library: the name of the library that makes the call.
        target: the target of the call.
        request: the request in progress, or ``None``.
        recorded: true where the call has a span.
        status_of: a function that returns the status code of an exception, 0 without one.
    """

    __slots__ = ("_attached", "_host", "_request", "_started", "_status_of", "_token", "span",
                 "status")  # fmt: skip

    def __init__(
        self,
        library: str,
        target: Target,
        request: AvatarRequest | None,
        recorded: bool,
        status_of: Callable[[Any], int],
    ) -> None:
        self._host = target.host
        self._request = request
        self._status_of = status_of
        self.status = 0
        self.span = _start_span(library, target, request) if recorded else trace.INVALID_SPAN
        self._started = perf_counter()

    def __enter__(self) -> OutsideCall:
        self._token: Token[OutsideCall | None] = IN_CALL.set(self)
        self._attached: Any = None
        if self.span is not trace.INVALID_SPAN:
            self._attached = otel_context.attach(trace.set_span_in_context(self.span))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        IN_CALL.reset(self._token)
        if self._attached is not None:
            otel_context.detach(self._attached)
        self.close(error)

    def close(self, error: BaseException | None = None) -> None:
        """Record the end of the call."""
        seconds = perf_counter() - self._started
        try:
            if error is not None:
                self.status = self._status_of(error)
            success = succeeded(self.status)
            if self._request is not None:
                found = self.status not in NOT_FOUND
                self._request.outside_call(self._host, seconds, success=success, found=found)
            if self.span is not trace.INVALID_SPAN:
                self._end_span(error, success)
        except Exception:  # noqa: BLE001 - the call has ended, and must not fail
            POLICY.guard.failed("probe_outside")

    def _end_span(self, error: BaseException | None, success: bool) -> None:
        span = self.span
        span.set_attribute("ivatar.external.success", success)
        if self.status:
            for key in _keys("http.status_code", "http.response.status_code"):
                span.set_attribute(key, self.status)
        if self.status and not success:
            span.set_status(Status(StatusCode.ERROR))
            span.set_attribute("error.type", str(self.status))
        elif error is not None and not success:
            fail(span, error)
        end(span)


def begin(
    library: str, describe: Describe, status_of: Callable[[Any], int], *args: Any, **kwargs: Any
) -> OutsideCall | None:
    """Begin a call; return ``None`` where it is not recorded, or is part of another call."""
    request = CURRENT.get()
    recorded = span_wanted(request)
    if (request is None and not recorded) or IN_CALL.get() is not None:
        return None
    try:
        called = describe(*args, **kwargs)
        return called and OutsideCall(library, called, request, recorded, status_of)
    except Exception:  # noqa: BLE001 - the library reports invalid arguments
        return None


def call_outside(
    library: str,
    describe: Describe,
    status_of: Callable[[Any], int],
    call: Callable[..., Any],
    *args: Any,
    **kwargs: Any,
) -> Any:
    """Make a call and record its result.

    Args:
        library: the name of the library that makes the call.
        describe: a function that returns the target from the arguments.
        status_of: a function that returns the status code of a result or an exception, else 0.
        call: the original function, whose result and exceptions are unchanged.
    """
    outside = begin(library, describe, status_of, *args, **kwargs)
    if outside is None:
        return call(*args, **kwargs)
    with outside:
        result = call(*args, **kwargs)
        outside.status = status_of(result)
        return result


def status_attribute(name: str) -> Callable[[Any], int]:
    """Return a function that reads a status code, 0 where the attribute is not a number."""

    def read(result: Any) -> int:
        status = getattr(result, name, 0)
        return status if isinstance(status, int) else 0

    return read


@lru_cache(maxsize=16)
def tracer_of(library: str) -> trace.Tracer:
    """Return the tracer of a probe that makes its own spans."""
    return trace.get_tracer(f"avatar_telemetry.probes.{library}", version("avatar-telemetry"))


def _start_span(library: str, target: Target, request: AvatarRequest | None) -> trace.Span:
    try:
        listed = request.known_host(target.host) if request is not None else ""
        service = request.service(target.host) if request is not None else labels.OTHER
        method = labels.method(target.method.upper())
        name = "HTTP" if method == labels.OTHER else method
        return tracer_of(library).start_span(
            name if service == labels.OTHER else f"{name} {service}",
            kind=SpanKind.CLIENT,
            attributes=_attributes(target, method, service, listed),
        )
    except Exception:  # noqa: BLE001 - a sampler or processor of the application may raise
        POLICY.guard.failed("probe_span")
        return trace.INVALID_SPAN


def _attributes(target: Target, method: str, service: str, listed: str) -> dict[str, str]:
    full = POLICY.privacy == "off"
    recorded = {
        ("http.method", "http.request.method"): UNKNOWN_METHOD if method == "other" else method,
        ("net.peer.name", "server.address"): target.host if full else listed or labels.OTHER,
    }
    if full:
        recorded["http.url", "url.full"] = _without_credentials(target.url)
    attributes = {key: value for both, value in recorded.items() for key in _keys(*both)}
    return {**attributes, "server.address": recorded["net.peer.name", "server.address"],
            "ivatar.external.service": service}  # fmt: skip


def _keys(old: str, new: str) -> tuple[str, ...]:
    """Return the names of an attribute under ``OTEL_SEMCONV_STABILITY_OPT_IN``."""
    return {"old": (old,), "stable": (new,), "both": (old, new)}[POLICY.semconv]


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
