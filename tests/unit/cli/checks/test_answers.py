"""The meaning of a collector's response that is no success."""

from __future__ import annotations

import pytest

from avatar_telemetry.cli.checks.answers import grpc_answer, http_answer

URL = "http://collector:4318/v1/traces"


@pytest.mark.parametrize(
    ("status", "level"),
    [
        (400, "error"), (404, "error"), (413, "error"), (418, "error"), (429, "warning"),
        (500, "error"), (501, "error"), (502, "warning"), (503, "warning"), (504, "warning"),
        (599, "error"),
    ],
)  # fmt: skip
def test_what_is_tried_again_is_a_warning(status: int, level: str) -> None:
    """The statuses that the exporter retries by the OTLP specification are no errors yet."""
    found = http_answer("traces", URL, status, "")
    assert (found.check, found.level) == (f"traces.http_{status}", level)
    assert URL in found.message and f"({status})" in found.message


def test_unknown_statuses_have_the_meaning_of_their_class() -> None:
    """A status that is not listed means what 400 or 500 means (RFC 9110, section 15)."""
    assert "does not understand" in http_answer("traces", URL, 418, "").message
    assert "has failed" in http_answer("traces", URL, 599, "").message


def test_path_that_is_not_known() -> None:
    """A 404 names the variable of the signal."""
    assert "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT" in http_answer("logs", URL, 404, "").advice


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("no such\n tenant", "(400: no such tenant)"),
        ("", "(400)"),
        ("\x00\x01", "(400)"),
        ("x" * 500, f"(400: {'x' * 120})"),
    ],
)
def test_body_of_the_response(said: str, shown: str) -> None:
    """Of the body one short printable line is shown."""
    assert http_answer("traces", URL, 400, said).message.endswith(shown)


@pytest.mark.parametrize(
    ("code", "said", "check", "level"),
    [
        ("UNAVAILABLE", "busy", "unavailable", "warning"),
        ("UNAVAILABLE", "failed to connect to all addresses", "unconnected", "error"),
        ("UNAVAILABLE", "Socket closed", "unconnected", "error"),
        ("RESOURCE_EXHAUSTED", "", "resource_exhausted", "warning"),
        ("UNAUTHENTICATED", "", "unauthenticated", "error"),
        ("NEVER_HEARD_OF", "", "never_heard_of", "error"),
    ],
)
def test_statuses_of_grpc(code: str, said: str, check: str, level: str) -> None:
    """A server that has not answered at all is another thing than one that is busy."""
    found = grpc_answer("metrics", URL, code, said)
    assert (found.check, found.level) == (f"metrics.grpc_{check}", level)
    assert found.advice
