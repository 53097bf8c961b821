"""Lines about failed exports: one a minute for each signal, on one line, without secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from avatar_telemetry import Settings
from avatar_telemetry.exporter.clients import Outcome
from avatar_telemetry.exporter.failures import (
    INTERVAL,
    FailureLog,
    failure_log,
    secrets_of,
)
from avatar_telemetry.exporter.last_error import ErrorFile, read_last_error
from tests.support.clock import PauseClock

SECRET = "sEcret-1"
PLACE = "http://c:4318/v1/traces, OTEL_EXPORTER_OTLP_ENDPOINT"
FAILED = Outcome(False, error="HTTP status 400 Bad Request")
RETRY = Outcome(False, retry=True, error="ConnectionError: refused")
ACCEPTED = Outcome(True)
NOWHERE = Path("/no/such/folder")
"""A folder for the file of the last error, which is not written."""


@pytest.fixture
def clock() -> PauseClock:
    return PauseClock(1_000.0)


def make(clock: PauseClock, *secrets: str, signal: str = "spans") -> FailureLog:
    return FailureLog(signal, PLACE, secrets, ErrorFile(NOWHERE, "traces"), clock)


def test_one_line_a_minute_for_each_signal(
    clock: PauseClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A failure of one signal does not keep that of another from the log."""
    logs = [make(clock), make(clock, signal="log records")]
    for _ in range(2):
        for each in logs:
            each.failed("failed")
            each.failed("failed again")
        clock.now += INTERVAL - 1
        for each in logs:
            each.failed("failed within the minute")
        clock.now += 1
    assert caplog.messages == [f"failed (sent to {PLACE})"] * 4


@pytest.mark.parametrize(
    ("outcome", "lines"),
    [
        pytest.param(ACCEPTED, [], id="accepted"),
        pytest.param(FAILED, ["3 spans lost: HTTP status 400 Bad Request"], id="refused"),
        pytest.param(RETRY, [f"cannot export spans: {RETRY.error}"], id="given up"),
        pytest.param(
            Outcome(True, 2, error="too\nmany"),
            ["the collector rejected 2 of 3 spans: too many"], id="partial success",
        ),
        pytest.param(
            Outcome(True, 1 << 40), ["the collector rejected 3 of 3 spans: no reason given"],
            id="more than sent",
        ),
        pytest.param(
            Outcome(True, error="old client"), ["the collector warns about spans: old client"],
            id="warning",
        ),
    ],
)  # fmt: skip
def test_outcomes(
    clock: PauseClock, caplog: pytest.LogCaptureFixture, outcome: Outcome, lines: list[str]
) -> None:
    """Every loss is logged with its number and reason."""
    make(clock).outcome(outcome, 3)
    assert caplog.messages == [f"{line} (sent to {PLACE})" for line in lines]


def test_a_single_failed_attempt_is_not_logged(
    clock: PauseClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A collector that restarts costs no line; an outage costs one, and its end another."""
    caplog.set_level("INFO")
    log = make(clock)
    log.retrying(RETRY, 1, 5)
    log.outcome(ACCEPTED, 3)
    assert caplog.messages == []
    log.retrying(RETRY, 2, 7)
    log.outcome(ACCEPTED, 3)
    log.outcome(ACCEPTED, 3)
    assert caplog.messages == [
        f"cannot export spans: {RETRY.error}; retrying, 7 spans waiting (sent to {PLACE})",
        f"export of spans works again (sent to {PLACE})",
    ]


@pytest.mark.parametrize(
    ("lost", "number", "line"),
    [
        pytest.param(True, 7, "7 spans not sent, lost: the server has ended", id="lost"),
        pytest.param(False, 1, "1 span not sent, kept for the next exporter", id="kept"),
    ],
)
def test_a_batch_that_is_left_at_the_end_is_logged(
    clock: PauseClock, caplog: pytest.LogCaptureFixture, lost: bool, number: int, line: str
) -> None:
    """The last line reports the unsent items, whatever was logged within the last minute."""
    log = make(clock)
    log.retrying(RETRY, 5, 7)
    log.abandoned(RETRY, number, lost=lost)
    assert caplog.messages[1:] == [f"cannot export spans: {RETRY.error}; {line} (sent to {PLACE})"]


@pytest.mark.parametrize(
    ("signal", "line"),
    [
        ("spans", "1 span lost"),
        ("log records", "1 log record lost"),
        ("metrics", "a push of 1 metric was refused, the next one repeats it"),
    ],
)
def test_a_single_item(
    clock: PauseClock, caplog: pytest.LogCaptureFixture, signal: str, line: str
) -> None:
    """A batch of one has the singular."""
    make(clock, signal=signal).outcome(FAILED, 1)
    assert caplog.messages == [f"{line}: {FAILED.error} (sent to {PLACE})"]


def test_exports_at_debug(clock: PauseClock, caplog: pytest.LogCaptureFixture) -> None:
    """At level DEBUG each batch that a collector accepted is logged."""
    caplog.set_level("DEBUG")
    make(clock).outcome(ACCEPTED, 3)
    assert caplog.messages == ["3 spans exported"]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(SECRET, id="without its scheme"),
        pytest.param(SECRET[:-3], id="its beginning"),
        pytest.param(SECRET[3:], id="its end"),
        pytest.param(f"x{SECRET}x{SECRET}", id="inside of words"),
        pytest.param("abc%2Bdef-1/2", id="percent-encoded"),
        pytest.param("abc+def-1/2", id="decoded"),
        pytest.param("\x1b[31m\r\nERROR forged", id="escapes and lines"),
        pytest.param("x" * 60_000, id="long"),
    ],
)
def test_a_text_of_a_collector(
    clock: PauseClock, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    """It is one printable line of bounded length, without any part of a secret."""
    make(clock, f"Bearer {SECRET}", "Api-Key abc%2Bdef-1/2").outcome(Outcome(False, error=text), 3)
    (line,) = caplog.messages
    assert line.isprintable()
    assert len(line) <= 1_000 + len(PLACE) + 20
    assert line.startswith("3 spans lost: ")
    for secret in (SECRET, "abc%2Bdef-1/2", "abc+def-1/2"):
        assert not any(secret[at : at + 8] in line for at in range(len(secret) - 7))


def test_a_short_header_is_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    """A value that occurs in many words is not taken out of the line."""
    settings = Settings.from_env({"OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=1"})
    failure_log(settings, "traces", NOWHERE).failed("code 401")
    assert caplog.messages[0].startswith("code 401 (sent to ")


def test_secrets_of_the_settings() -> None:
    """Header values and the query of an endpoint are secret, for each signal."""
    settings = Settings.from_env(
        {
            "OTEL_EXPORTER_OTLP_HEADERS": f"x-key={SECRET}",
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "x-key=another-1",
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://here:4318/v1/metrics?token=in-query",
        }
    )
    assert {SECRET, "another-1", "token=in-query"} <= set(secrets_of(settings))


@pytest.mark.parametrize(
    ("env", "signal", "place"),
    [
        pytest.param(
            {}, "traces",
            "http://localhost:4318/v1/traces, the default of OTEL_EXPORTER_OTLP_ENDPOINT",
            id="default",
        ),
        pytest.param(
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c/x?token=in-query"}, "traces",
            "https://c/x/v1/traces, OTEL_EXPORTER_OTLP_ENDPOINT", id="all-signals",
        ),
        pytest.param(
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://all:4318",
             "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://m:4318/m"},
            "metrics", "http://m:4318/m, OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", id="one-signal",
        ),
        pytest.param(
            {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
             "OTEL_LOGS_EXPORTER": "console,otlp",
             "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://l:4317"},
            "logs", "http://l:4317, OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", id="grpc",
        ),
        pytest.param(
            {"OTEL_TRACES_EXPORTER": "console"}, "traces", "standard output", id="console",
        ),
    ],
)  # fmt: skip
def test_place_of_a_signal(
    caplog: pytest.LogCaptureFixture, env: dict[str, str], signal: Any, place: str
) -> None:
    """A line names the endpoint, without its query, and the variable that it is from."""
    failure_log(Settings.from_env(env), signal, NOWHERE).failed("failed")
    assert caplog.messages == [f"failed (sent to {place})"]


def test_the_last_error_is_kept(tmp_path: Path, clock: PauseClock) -> None:
    """The line of the log is in the file of the signal, without secrets, until an export works."""
    errors = ErrorFile(tmp_path, "traces")
    log = FailureLog("spans", PLACE, [SECRET], errors, clock)
    log.retrying(RETRY, 1, 3)
    assert read_last_error(tmp_path, "traces") is None
    log.outcome(Outcome(False, error=f"HTTP status 401 for {SECRET}"), 3)
    last = read_last_error(tmp_path, "traces")
    assert last is not None
    assert last.message == f"3 spans lost: HTTP status 401 for (not shown) (sent to {PLACE})"
    log.outcome(Outcome(True, 1, error="too long"), 3)
    assert errors.is_open
    log.outcome(ACCEPTED, 3)
    assert not errors.is_open


def test_a_failure_within_the_minute_is_kept(tmp_path: Path, clock: PauseClock) -> None:
    """A failure after a success is kept although the log has no second line."""
    errors = ErrorFile(tmp_path, "traces")
    log = FailureLog("spans", PLACE, [], errors, clock)
    for outcome in (FAILED, ACCEPTED, FAILED):
        log.outcome(outcome, 3)
    assert errors.is_open


def test_a_warning_is_no_failure(tmp_path: Path, clock: PauseClock) -> None:
    """Nothing was lost: the file has no error."""
    log = FailureLog("spans", PLACE, [], ErrorFile(tmp_path, "traces"), clock)
    log.outcome(Outcome(True, error="old client"), 3)
    assert read_last_error(tmp_path, "traces") is None
