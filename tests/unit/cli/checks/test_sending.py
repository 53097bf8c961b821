"""The meaning of a collector's response to the test item."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import requests

from avatar_telemetry.cli.checks.finding import Finding
from avatar_telemetry.cli.checks.sending import explain
from avatar_telemetry.config.otlp import SIGNALS, Signal
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.exporter.clients import Outcome

TOKEN = "token-0123456789"
FOREIGN = f"\x1b[31mno\r\nerror: forged {TOKEN} \u202e" + "x" * 60_000
SETTINGS = Settings.from_env(
    {"OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{TOKEN}", "OTEL_EXPORT_ENABLED": "true"}
)


def http(status: int, body: str = "", signal: Signal = "traces", **headers: str) -> Finding:
    """The finding for a response over HTTP."""
    response = requests.Response()
    response.status_code = status
    response._content = body.encode()
    response.headers["Content-Type"] = headers.get("content_type", "text/plain")
    outcome = Outcome(status == 200, response=response)
    return explain(signal, SETTINGS.otlp[signal], outcome, 1)


def grpc(code: str, details: str) -> Finding:
    """The finding for a status of gRPC."""
    error = SimpleNamespace(code=lambda: SimpleNamespace(name=code), details=lambda: details)
    return explain("metrics", SETTINGS.otlp["metrics"], Outcome(False, response=error), 1)


def assert_safe(finding: Finding) -> None:
    assert finding.message.isprintable()
    assert len(finding.message) <= 400
    assert TOKEN[:8] not in finding.message


@pytest.mark.parametrize(
    ("status", "level"),
    [
        (400, "error"), (404, "error"), (418, "error"), (429, "warning"), (500, "error"),
        (502, "warning"), (503, "warning"), (504, "warning"), (599, "error"),
    ],
)  # fmt: skip
def test_retried_status_is_a_warning(status: int, level: str) -> None:
    """A status after which the exporter retries (OTLP specification) is not an error yet."""
    found = http(status)
    assert (found.check, found.level) == (f"traces.http_{status}", level)
    assert "http://localhost:4318/v1/traces" in found.message and f"({status})" in found.message


@pytest.mark.parametrize(
    ("finding", "text"),
    [
        pytest.param(http(418), "rejects the request as malformed (418)", id="as 400"),
        pytest.param(http(599), "reports an internal error (599)", id="as 500"),
        pytest.param(http(400, "no such\n tenant"), "(400: no such tenant)", id="two lines"),
        pytest.param(http(400, "\x00\x01"), "(400)", id="unprintable"),
        pytest.param(http(400, "x" * 500), f"(400: {'x' * 120})", id="long"),
        pytest.param(http(400, "<p>", content_type="text/html"), "(400)", id="HTML"),
    ],
)
def test_message_of_a_status(finding: Finding, text: str) -> None:
    """An unknown status means what its class does (RFC 9110); the body is one short line."""
    assert finding.message.endswith(text)


def test_unknown_path() -> None:
    """A 404 names the variable of the signal."""
    assert "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT" in http(404, signal="logs").advice


@pytest.mark.parametrize(
    ("body", "content_type", "check"),
    [
        ("", "text/html", "sent"),
        ("{}", "application/json", "sent"),
        ("<p>", "text/html", "no_otlp"),
        ("<p>", "application/x-protobuf", "no_otlp"),
    ],
)
def test_success_that_is_not_otlp(body: str, content_type: str, check: str) -> None:
    """A web page that responds with 200 is reported; an empty body and JSON are OTLP."""
    assert http(200, body, content_type=content_type).check == f"traces.{check}"


@pytest.mark.parametrize(
    ("code", "details", "check", "level"),
    [
        ("UNAVAILABLE", "busy", "unavailable", "warning"),
        ("UNAVAILABLE", "failed to connect to all addresses", "unconnected", "error"),
        ("UNAVAILABLE", "Socket closed", "unconnected", "error"),
        ("RESOURCE_EXHAUSTED", "", "resource_exhausted", "warning"),
        ("DEADLINE_EXCEEDED", "", "deadline_exceeded", "error"),
        ("UNAUTHENTICATED", "", "unauthenticated", "error"),
        ("NEVER_HEARD_OF", "", "never_heard_of", "error"),
    ],
)
def test_status_of_grpc(code: str, details: str, check: str, level: str) -> None:
    """A server that has not responded at all is distinguished from one that is busy."""
    found = grpc(code, details)
    assert (found.check, found.level) == (f"metrics.grpc_{check}", level)
    assert found.advice


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize(("rejected", "level"), [(1, "error"), (0, "warning")])
def test_partial_success(signal: Any, rejected: int, level: str) -> None:
    """The collector's text is one printable line without secrets."""
    outcome = Outcome(True, rejected, error=FOREIGN)
    finding = explain(signal, SETTINGS.otlp[signal], outcome, 1)
    assert finding.level == level
    assert_safe(finding)


@pytest.mark.parametrize("status", [400, 401, 503])
def test_body_of_an_error(status: int) -> None:
    """The same holds for the body of a response that accepts nothing."""
    assert_safe(http(status, FOREIGN))
