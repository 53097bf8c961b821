"""Child spans of probes: made only where the spans of the request in progress are recorded.

An exception's message may hold a key, a URL or an address, so a span of ours gets its type only.
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
"""Within a step that is shown as one: what it calls to do its work is not shown again."""

NOTHING: AbstractContextManager[Span] = nullcontext(INVALID_SPAN)
"""Where no span is wanted."""


def child_span(
    request: AvatarRequest,
    name: str,
    attributes: Mapping[str, AttributeValue],
    kind: SpanKind = SpanKind.INTERNAL,
) -> AbstractContextManager[Span]:
    """A span around a ``with`` block, current within it.

    Args:
        request: in progress.
        name: from a closed set.
        attributes: from closed sets, or of the application; never of a client.
        kind: what the block is to others.

    Returns:
        A context manager of the span, of one that records nothing where the request's spans are
        not recorded. It raises nothing of its own, and lets every exception of the block pass.
    """
    tracer = getattr(request, "tracer", None)
    if tracer is None:
        return NOTHING
    try:
        return _Child(request, tracer.start_span(name, kind=kind, attributes=attributes))
    except Exception:  # noqa: BLE001 - a span processor of the user's may raise
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
        except Exception:  # noqa: BLE001 - a span processor of the user's may raise
            self._request.guard.failed("probes")
