"""One test span, metric or log record, sent with a client of the exporter, and its response."""

from __future__ import annotations

import base64
import os
import secrets
import time
from typing import Any
from urllib.parse import urlsplit

import requests
from google.protobuf.json_format import ParseDict  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from avatar_telemetry._base.version import VERSION
from avatar_telemetry.cli.checks.finding import Finding, error, good, warning
from avatar_telemetry.config.otlp import GRPC, PREFIX, Otlp, Signal
from avatar_telemetry.config.resource import resource_attributes
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.exporter.clients import (
    RETRYABLE,
    RETRYABLE_CODES,
    SERVICES,
    GrpcClient,
    HttpClient,
    Outcome,
)
from avatar_telemetry.exporter.foreign import Secrets, one_line

NAME = "avatar-telemetry doctor"
"""The name of the span, and the text of the log record."""
METRIC_NAME = "avatar_telemetry_doctor"
MAX_TEXT = 120
"""Characters of a collector's text that are shown."""
PROTOBUF = "application/x-protobuf"
ITEMS: dict[Signal, str] = {"traces": "span", "metrics": "metric", "logs": "log record"}

HEADERS = PREFIX + "HEADERS"
_TOKEN = f"Check the token in {HEADERS} (Authorization=Bearer%20TOKEN, percent-encoded)."
_BUSY = "The exporter retries; add capacity to the collector, or record fewer traces."
_LOG = "See the collector's log."
_RECEIVER = "Check that it is an OTLP receiver."
_MALFORMED = "rejects the request as malformed", "Check for a proxy that changes the request."
_INTERNAL = "reports an internal error", _LOG
_UNAVAILABLE = "is unavailable", _BUSY
_LIMITED = "limits the rate of requests", _BUSY
MEANINGS: dict[int | str, tuple[str, str]] = {
    400: _MALFORMED,
    401: ("requires authentication", _TOKEN),
    403: ("refuses access", f"{_TOKEN} Check that it may write."),
    405: ("does not allow POST on this path", "Check that it is the path of an OTLP receiver."),
    407: ("is behind a proxy that requires authentication", "Set it in HTTPS_PROXY, or NO_PROXY."),
    413: ("rejects the request as too large",
          "Lower OTEL_BSP_MAX_EXPORT_BATCH_SIZE, or raise the collector's limit."),
    415: ("does not support the content type or compression",
          f"{_RECEIVER} Try {PREFIX}COMPRESSION=none."),
    429: _LIMITED,
    500: _INTERNAL,
    501: ("does not implement this request", _RECEIVER),
    502: ("is behind a proxy that cannot reach it", "Check that the collector runs."),
    503: _UNAVAILABLE,
    504: ("is behind a proxy that timed out", "Check that the collector runs and is not busy."),
    "UNAUTHENTICATED": ("requires authentication", _TOKEN),
    "PERMISSION_DENIED": ("refuses access", f"{_TOKEN} Check that it may write."),
    "UNIMPLEMENTED": ("has no pipeline for this signal", "Add one to its configuration."),
    "RESOURCE_EXHAUSTED": _LIMITED,
    "UNAVAILABLE": _UNAVAILABLE,
    "UNCONNECTED": ("closes or refuses the connection", "Check that it is a gRPC receiver."),
    "DEADLINE_EXCEEDED": ("timed out", f"Check its load; {PREFIX}TIMEOUT sets the limit."),
    "INVALID_ARGUMENT": _MALFORMED,
    "INTERNAL": _INTERNAL,
}  # fmt: skip
"""The fact and the fix by status of HTTP (RFC 9110) and of gRPC (statuscodes.md)."""
RETRIED = RETRYABLE | RETRYABLE_CODES - {"DEADLINE_EXCEEDED"}
NOT_CONNECTED = ("failed to connect", "Socket closed", "recvmsg")
"""Details of UNAVAILABLE without any response of a server."""


def send_test(settings: Settings, signal: Signal, otlp: Otlp, timeout: float) -> Outcome:
    """Send one item once with the client of the exporter, with a timeout in seconds."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its output is part of the finding
    client = (GrpcClient if otlp.protocol == GRPC else HttpClient)(signal, otlp)
    try:
        return client.send(_request(settings, signal).SerializeToString(), timeout)
    finally:
        client.close()


def has_response(outcome: Outcome) -> bool:
    """Return whether the collector responded, in the protocol of the client."""
    response = outcome.response
    if code := _grpc_code(response):
        return code != "UNCONNECTED"
    # Only for a refused response (a redirect, a long one) there is neither a response nor a retry.
    return outcome.accepted or response is not None or not outcome.retry


def is_timeout(outcome: Outcome) -> bool:
    """Return whether the client timed out: the error begins with the name of the exception."""
    return outcome.error.partition(":")[0] in ("ReadTimeout", "ConnectTimeout")


def explain(signal: Signal, otlp: Otlp, outcome: Outcome, timeout: float) -> Finding:
    """Return the finding for the outcome of :func:`send_test`, with its timeout in seconds."""
    response = outcome.response
    redact = Secrets([*(value for _, value in otlp.headers), urlsplit(otlp.endpoint).query]).redact
    if outcome.accepted:
        return _accepted(signal, otlp, outcome, redact(outcome.error))
    if code := _grpc_code(response):
        return _status(signal, otlp, code, redact(response.details() or ""))
    if isinstance(response, requests.Response):
        return _status(signal, otlp, response.status_code, redact(_text(response)))
    text = one_line(redact(outcome.error), MAX_TEXT)
    if has_response(outcome):
        return error(
            f"{signal}.refused_response", f"{otlp.place} responds with {text}",
            "Use the address of the collector itself; redirects and long responses are refused.",
        )  # fmt: skip
    if is_timeout(outcome):
        return error(
            f"{signal}.timeout", f"{otlp.place} did not respond within {timeout:g} s",
            "Check that the collector is not busy, and that no other program uses the port.",
        )  # fmt: skip
    return error(
        f"{signal}.failed", f"{otlp.place} did not respond: {text}",
        "Check that it is an OTLP receiver for this protocol; see the collector's log.",
    )  # fmt: skip


def _accepted(signal: Signal, otlp: Otlp, outcome: Outcome, message: str) -> Finding:
    item, name = ITEMS[signal], METRIC_NAME if signal == "metrics" else NAME
    message = one_line(message, MAX_TEXT)
    if isinstance(outcome.response, requests.Response) and not _is_otlp(signal, outcome.response):
        return warning(
            f"{signal}.no_otlp", f"{otlp.place} responds with success, but not with OTLP",
            "Check that it is a collector, not a web page.",
        )  # fmt: skip
    if outcome.rejected:
        return error(f"{signal}.rejected", f"{otlp.place} rejects the test {item}: {message}", _LOG)
    if message:
        return warning(f"{signal}.warned", f"{otlp.place} accepts it, but warns: {message}", _LOG)
    return good(f"{signal}.sent", f"{otlp.place} accepted the test {item} ({name!r})")


def _is_otlp(signal: Signal, response: requests.Response) -> bool:
    content_type = response.headers.get("Content-Type", PROTOBUF)
    if not response.content or content_type.startswith("application/json"):
        return True
    try:
        SERVICES[signal].response.FromString(response.content)
    except DecodeError:
        return False
    return not content_type.startswith("text/html")


def _status(signal: Signal, otlp: Otlp, code: int | str, text: str) -> Finding:
    protocol, unknown = "grpc", ("reports a failure", _LOG)
    if isinstance(code, int):
        protocol, unknown = "http", _INTERNAL if code >= 500 else _MALFORMED
    meaning, advice = MEANINGS.get(code, unknown)
    if code == 404:
        meaning, own = "has no such path", f"{PREFIX}{signal.upper()}_ENDPOINT"
        advice = (
            f"/v1/{signal} is appended to an endpoint for all signals, {own} is used unchanged. A"
            f" collector without a pipeline for {signal} responds the same."
        )
    line = " ".join(text.split())
    shown = f": {line[:MAX_TEXT]}" if line and line.isprintable() else ""
    level = warning if code in RETRIED else error
    name = f"{signal}.{protocol}_{str(code).lower()}"
    return level(name, f"{otlp.place} {meaning} ({code}{shown})", advice)


def _grpc_code(response: Any) -> str:
    """Return the status of a ``grpc.RpcError``, ``UNCONNECTED`` where no server responded; an
    empty text for anything else."""
    if not hasattr(response, "code"):
        return ""
    code, details = str(response.code().name), response.details() or ""
    unconnected = code == "UNAVAILABLE" and any(each in details for each in NOT_CONNECTED)
    return "UNCONNECTED" if unconnected else code


def _text(response: requests.Response) -> str:
    """Return the message of a ``google.rpc.Status`` (OTLP/HTTP, "Failures"), or the plain text."""
    content_type = response.headers.get("Content-Type", "")
    if "html" in content_type:
        return ""
    if not content_type.startswith(PROTOBUF):
        return response.content[:200].decode("utf-8", "replace")
    try:
        return str(Status.FromString(response.content).message)
    except DecodeError:
        return ""


def _request(settings: Settings, signal: Signal) -> Any:
    """Return the message with one item (OTLP/JSON is the JSON mapping of protobuf, but for ids)."""
    now = time.time_ns()
    items: dict[Signal, dict[str, Any]] = {
        "traces": {
            "traceId": _id(16), "spanId": _id(8), "name": NAME, "kind": "SPAN_KIND_INTERNAL",
            "startTimeUnixNano": now, "endTimeUnixNano": now + 1,
        },
        "metrics": {
            "name": METRIC_NAME, "description": "Sent by avatar-telemetry doctor; always 1.",
            "gauge": {"dataPoints": [{"timeUnixNano": now, "asInt": 1}]},
        },
        "logs": {
            "timeUnixNano": now, "observedTimeUnixNano": now, "body": {"stringValue": NAME},
            "severityNumber": "SEVERITY_NUMBER_INFO", "severityText": "INFO",
        },
    }  # fmt: skip
    resources, scopes, name = SERVICES[signal].levels
    attributes = [
        {"key": key, "value": {"stringValue": value}}
        for key, value in resource_attributes(settings).items()
    ]
    scope = {"name": "avatar_telemetry.doctor", "version": VERSION}
    content = {
        "resource": {"attributes": attributes},
        scopes: [{"scope": scope, name: [items[signal]]}],
    }
    return ParseDict({resources: [content]}, SERVICES[signal].request())


def _id(size: int) -> str:
    return base64.b64encode(secrets.token_bytes(size)).decode()
