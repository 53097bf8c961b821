"""What a collector's answer means, and what to do about it."""

from __future__ import annotations

from avatar_telemetry.cli.checks.finding import Finding, error, warning
from avatar_telemetry.config.otlp import PREFIX, Signal

MAX_SAID = 120
"""Characters of a collector's text that are shown."""
HEADERS = PREFIX + "HEADERS"
_TOKEN = f"Is the token in {HEADERS} right (Authorization=Bearer%20TOKEN, percent-encoded)?"
_BUSY = "It is tried again by itself; give the collector more room, or record fewer traces."

HTTP_MEANINGS: dict[int, tuple[str, str]] = {
    400: ("does not understand the request", "Is a proxy between that changes it?"),
    401: ("wants to know who is asking", _TOKEN),
    403: ("does not allow this", f"{_TOKEN} Does it have the right to write?"),
    404: ("knows no such path", ""),
    405: ("takes no POST on this path", "Is it the path of an OTLP receiver?"),
    407: ("is behind a proxy that wants a log-in", "Give it in HTTPS_PROXY, or set NO_PROXY."),
    413: ("finds the batch too large", "Lower OTEL_BSP_MAX_EXPORT_BATCH_SIZE, or raise its limit."),
    415: (
        "does not take this content type or compression",
        f"Is it an OTLP receiver for protobuf? Try {PREFIX}COMPRESSION=none.",
    ),
    429: ("has too much to do", _BUSY),
    500: ("has failed", "Its log says why."),
    501: ("cannot do this", "Is it an OTLP receiver?"),
    502: ("is behind a proxy that cannot reach it", "Is the collector running?"),
    503: ("cannot take it now", _BUSY),
    504: ("is behind a proxy that waited in vain", "Is the collector busy, or gone?"),
}
RETRIED = (429, 502, 503, 504)
"""Statuses after which a batch is tried again (OTLP specification, "Retryable Response Codes")."""

# gRPC's codes (statuscodes.md of gRPC) in the same words.
GRPC_MEANINGS: dict[str, tuple[str, str]] = {
    "UNAUTHENTICATED": HTTP_MEANINGS[401],
    "PERMISSION_DENIED": HTTP_MEANINGS[403],
    "UNIMPLEMENTED": (
        "has no pipeline for this signal",
        "Add one to the collector's configuration.",
    ),
    "RESOURCE_EXHAUSTED": HTTP_MEANINGS[429],
    "UNAVAILABLE": HTTP_MEANINGS[503],
    "DEADLINE_EXCEEDED": (
        "does not answer in time",
        f"Is it busy? {PREFIX}TIMEOUT gives it longer.",
    ),
    "INVALID_ARGUMENT": HTTP_MEANINGS[400],
    "INTERNAL": HTTP_MEANINGS[500],
}
GRPC_RETRIED = (
    "UNAVAILABLE",
    "RESOURCE_EXHAUSTED",
    "ABORTED",
    "OUT_OF_RANGE",
    "CANCELLED",
    "DATA_LOSS",
)
NOT_CONNECTED = ("failed to connect", "Socket closed", "recvmsg")
"""What gRPC says in the details of UNAVAILABLE where no server has answered at all."""


def http_answer(signal: Signal, url: str, status: int, said: str) -> Finding:
    """An answer that is no success.

    Args:
        signal: that was sent.
        url: where to.
        status: code of the answer.
        said: its body, as far as it is text.
    """
    family = HTTP_MEANINGS[500] if status >= 500 else HTTP_MEANINGS[400]
    meaning, advice = HTTP_MEANINGS.get(status, family)
    if status == 404:
        own = f"{PREFIX}{signal.upper()}_ENDPOINT"
        advice = (
            f"An endpoint of all signals gets /v1/{signal} behind it, {own} is used as it is. A"
            f" collector without a pipeline for {signal} says this, too."
        )
    tell = warning if status in RETRIED else error
    return tell(f"{signal}.http_{status}", f"{url} {meaning} ({status}{_quoted(said)})", advice)


def grpc_answer(signal: Signal, url: str, code: str, said: str) -> Finding:
    """A status of gRPC that is not OK.

    Args:
        signal: that was sent.
        url: where to.
        code: its name.
        said: its details.
    """
    meaning, advice = GRPC_MEANINGS.get(code, ("refuses it", "The collector's log says why."))
    if code == "UNAVAILABLE" and any(words in said for words in NOT_CONNECTED):
        meaning, advice = "ends or refuses the connection", "Is it a receiver for gRPC?"
        code = "UNCONNECTED"
    tell = warning if code in GRPC_RETRIED else error
    return tell(f"{signal}.grpc_{code.lower()}", f"{url} {meaning} ({code}{_quoted(said)})", advice)


def _quoted(said: str) -> str:
    words = " ".join(said.split())
    return f": {words[:MAX_SAID]}" if words and words.isprintable() else ""
