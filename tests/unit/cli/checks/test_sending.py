"""What a collector's answer to the test record is shown as."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from avatar_telemetry.cli.checks import sending
from avatar_telemetry.cli.checks.finding import Finding, error
from avatar_telemetry.cli.checks.sending import PROTOBUF, TRIALS
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.exporter.clients import SERVICES

TOKEN = "token-0123456789"
FOREIGN = f"\x1b[31mno\r\nerror: forged {TOKEN} \u202e" + "x" * 60_000
SETTINGS = Settings.from_env(
    {"OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{TOKEN}", "OTEL_EXPORT_ENABLED": "true"}
)


def assert_safe(finding: Finding) -> None:
    assert finding.message.isprintable()
    assert len(finding.message) <= 400
    assert TOKEN[:8] not in finding.message
    assert "no" in finding.message


@pytest.mark.parametrize("signal", TRIALS)
@pytest.mark.parametrize(
    ("refused", "level"), [(1, "error"), (0, "warning"), (-1, "warning")],
)  # fmt: skip
def test_a_partial_success(signal: Any, refused: int, level: str) -> None:
    """Its text is one printable line without secrets, and a negative number refuses nothing."""
    service = SERVICES[signal]
    response = service.response()
    setattr(response.partial_success, service.rejected, refused)
    response.partial_success.error_message = FOREIGN
    finding = sending._taken(
        signal, SETTINGS.otlp[signal], response.SerializeToString(), PROTOBUF
    )  # fmt: skip
    assert finding.level == level
    assert_safe(finding)


@pytest.mark.parametrize("status", [400, 401, 503])
def test_the_body_of_an_error(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """The same for the response of a server that took nothing."""
    answer = SimpleNamespace(
        status_code=status, content=FOREIGN.encode(), headers={"Content-Type": "text/plain"}
    )
    session = SimpleNamespace(request=lambda *args, **options: answer, close=lambda: None)
    monkeypatch.setattr(sending, "open_session", lambda otlp: session)
    found: Iterator[Finding] = sending.send_test(SETTINGS, "traces", SETTINGS.otlp["traces"], 1)
    (finding,) = found
    assert_safe(finding)


def test_every_finding_is_one_printable_line() -> None:
    """Whatever a check puts into it, such as a name in a certificate."""
    finding = error("x.y", "it says \x1b[2J\nno", "a\tb")
    assert (finding.message, finding.advice) == ("it says ?[2J no", "a b")
