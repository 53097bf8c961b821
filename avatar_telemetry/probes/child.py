"""Child spans of probes, made only where the spans of the request in progress are recorded.

The message of an exception may hold a key, a URL or an address: a span has its type only.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar, Token
from types import TracebackType

from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import (
    INVALID_SPAN,
    Span,
    SpanKind,
    Status,
    StatusCode,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue

from avatar_telemetry.http.privacy import error_type
from avatar_telemetry.wsgi.request import AvatarRequest

INSIDE: ContextVar[bool] = ContextVar("avatar_telemetry.inside", default=False)
"""True within a step that has a span: the calls that it makes have none."""

NOTHING: AbstractContextManager[Span] = nullcontext(INVALID_SPAN)
"""The context manager of a span that is not recorded."""


def child_span(
    request: AvatarRequest,
    name: str,
    attributes: Mapping[str, AttributeValue],
    kind: SpanKind = SpanKind.INTERNAL,
) -> AbstractContextManager[Span]:
    """Make a span around a ``with`` block, current within it.

    Args:
        request: the request in progress.
        name: the name, from a closed set.
        attributes: the attributes, from closed sets or of the application; never of a client.
        kind: the kind of the span.

    Returns:
        A context manager of the span, or of one that records nothing where the spans of the
        request are not recorded. It passes every exception of the block and raises no other.
    """
    tracer = getattr(request, "tracer", None)
    if tracer is None:
        return NOTHING
    try:
        return _Child(request, tracer.start_span(name, kind=kind, attributes=attributes))
    except Exception:  # noqa: BLE001 - a span processor of the application may raise
        request.guard.failed("probes")
        return NOTHING


class _Child(AbstractContextManager[Span]):
    __slots__ = ("_request", "_span", "_token")

    def __init__(self, request: AvatarRequest, span: Span) -> None:
        self._request = request
        self._span = span
        self._token: Token[Context] | None = None

    def __enter__(self) -> Span:
        self._token = attach(set_span_in_context(self._span))
        return self._span

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if self._token is not None:
                detach(self._token)
            if error is not None:
                self._span.set_attribute("error.type", error_type(error))
                self._span.set_status(Status(StatusCode.ERROR))
            self._span.end()
        except Exception:  # noqa: BLE001 - a span processor of the application may raise
            self._request.guard.failed("probes")
