"""Names, statuses and attributes of spans that follow from the outcome of a request.

An ending is encoded once for all requests with the same outcome.
"""

from __future__ import annotations

from dataclasses import dataclass

from opentelemetry.trace import SpanKind, Status, StatusCode

from avatar_telemetry.http.semconv import FILE_NAMES, STATUS_NAMES, HttpAttributes
from avatar_telemetry.tracing.encoder import FLAGS_LOCAL, KINDS, Block, encode_name, encode_status
from avatar_telemetry.tracing.keep import KEPT, Decision
from avatar_telemetry.tracing.span import UNSET
from avatar_telemetry.wsgi.names import has_operation, name_of, server_name, status_code
from avatar_telemetry.wsgi.outcome import Outcome

WITHOUT_BODY = frozenset(("204", "304"))
"""Statuses whose Content-Length is that of another response (RFC 9110, section 8.6)."""
ERROR = Status(StatusCode.ERROR)
AVATAR_NAMES = ("ivatar.request_type", "ivatar.avatar_size", "ivatar.avatar_format")
PERSONAL_NAMES = {"digest": ("ivatar.avatar_digest",), "email": ("ivatar.avatar_email",)}
EXTRA_NAMES = ("http.route", "ivatar.view", "ivatar.db.queries")
"""Attributes of the server span that few requests have."""
_OPERATION_NAMES = (
    *AVATAR_NAMES, "ivatar.avatar_cache", "ivatar.avatar_source", "ivatar.avatar_generator",
    "ivatar.operation", "ivatar.success", "error.type",
)  # fmt: skip
_PERSONAL = tuple(name for names in PERSONAL_NAMES.values() for name in names)
SERVER_NAMES = (*AVATAR_NAMES, *_PERSONAL, *EXTRA_NAMES)
OPERATION_NAMES = (*_OPERATION_NAMES, *_PERSONAL, *FILE_NAMES)
"""Attributes of the operation span; those that do not apply are absent."""


@dataclass(frozen=True, slots=True, eq=False)
class SpanEnding:
    """The end of one span.

    Args:
        name: its name.
        status: its status.
        block: the attributes that follow from the outcome.
        head: its encoded name and kind.
        data: the encoded attributes of the block.
        tail: its encoded status and flags, as of a span without a remote parent, and tracestate.
    """

    name: str
    status: Status
    block: Block
    head: bytes
    data: bytes
    tail: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Ending:
    """The end of the spans of a request.

    Args:
        server: the end of the server span.
        operation: the end of the operation span, if the request has one.
        is_sized: whether the Content-Length of the response is the size of its body.
    """

    server: SpanEnding
    operation: SpanEnding | None
    is_sized: bool


def make_ending(
    http: HttpAttributes,
    found: Outcome,
    success: bool | None,
    error: str | None,
    decision: Decision = KEPT,
) -> Ending:
    """Return the ending of the spans of a request.

    Args:
        http: the builder of HTTP attributes.
        found: the outcome of the request.
        success: whether an attempt succeeded.
        error: ``error.type``.
        decision: the decision to keep the request.
    """
    route, status = found.route, ERROR if error is not None else UNSET
    avatar = (route.kind, found.size, found.picture or None)
    block = Block(
        (*STATUS_NAMES[http.mode], *AVATAR_NAMES, *decision.block.keys),
        (*http.status(status_code(found.status), error), *avatar, *decision.block.values),
    )
    name, state = server_name(found.method, route.template), decision.state
    server = _span_ending(name, SpanKind.SERVER, status, block, state)
    operation = None
    if has_operation(route.kind, found.method):
        block = Block(_OPERATION_NAMES, (
            *avatar, found.cache or None, found.source or None, found.generator or None,
            route.operation or None, success, error,
        ))  # fmt: skip
        name = name_of(found, success)
        operation = _span_ending(name, SpanKind.INTERNAL, status, block, state)
    is_sized = found.method != "HEAD" and found.status not in WITHOUT_BODY
    return Ending(server, operation, is_sized)


def _span_ending(
    name: str, kind: SpanKind, status: Status, block: Block, state: bytes
) -> SpanEnding:
    head, tail = encode_name(name) + KINDS[kind], encode_status(status) + FLAGS_LOCAL + state
    return SpanEnding(name, status, block, head, block.data, tail)
