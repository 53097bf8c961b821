"""What exporters may say: seldom, on one line, no secret."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from avatar_telemetry import Settings
from avatar_telemetry.export.foreign import NOT_SHOWN, Secrets
from avatar_telemetry.export.throttle import (
    INTERVAL,
    LOGGERS,
    STAMP,
    Throttle,
    install_throttle,
    make_stamp,
    secrets_of,
)

SECRET = "sEcret-1"
SPEAK = """
import logging, sys
from pathlib import Path
from avatar_telemetry.export.throttle import Throttle
throttle = Throttle(Path(sys.argv[1]), [])
print(throttle.filter(logging.LogRecord("x", logging.ERROR, "", 0, "failed", (), None)))
"""


class Clock:
    """Stands still until it is put forward."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def no_filters_left() -> Iterator[None]:
    yield
    for name in LOGGERS:
        logger = logging.getLogger(name)
        for each in [one for one in logger.filters if isinstance(one, Throttle)]:
            logger.removeFilter(each)


def record(level: int = logging.ERROR, message: str = "failed", *args: object) -> logging.LogRecord:
    return logging.LogRecord("x", level, __file__, 1, message, args, None)


def test_one_line_a_minute_for_all(tmp_path: Path, clock: Clock) -> None:
    """Of all workers of a host one says something, and nobody else for a minute."""
    workers = [Throttle(tmp_path, [], clock) for _ in range(3)]
    assert [each.filter(record()) for each in workers] == [True, False, False]
    clock.now += INTERVAL - 1
    assert not any(each.filter(record()) for each in workers)
    clock.now += 1
    assert [each.filter(record()) for each in reversed(workers)] == [True, False, False]


def test_processes_share_the_stamp(tmp_path: Path) -> None:
    """The same for processes."""
    make_stamp(tmp_path)
    command = [sys.executable, "-c", SPEAK, str(tmp_path)]
    said = [subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()
            for _ in range(2)]  # fmt: skip
    assert said == ["True", "False"]


def test_clock_put_back(tmp_path: Path, clock: Clock) -> None:
    """A clock that was put back does not silence anybody."""
    throttle = Throttle(tmp_path, [], clock)
    assert throttle.filter(record())
    clock.now -= 500
    assert throttle.filter(record())


def test_workers_that_fail_together(tmp_path: Path, clock: Clock) -> None:
    """Who read its clock first and comes second is silent, too."""
    throttle = Throttle(tmp_path, [], clock)
    assert throttle.filter(record())
    clock.now -= 0.001
    assert not throttle.filter(record())


def test_without_a_folder(tmp_path: Path, clock: Clock) -> None:
    """Where the folder is gone each process says one line a minute."""
    throttle = Throttle(tmp_path / "gone", [], clock)
    assert [throttle.filter(record()) for _ in range(3)] == [True, False, False]
    clock.now += INTERVAL
    assert throttle.filter(record())


@pytest.mark.parametrize("content", [b"garbage", b"\xff\xff", b"nan", b"-inf"])
def test_foreign_stamp(tmp_path: Path, clock: Clock, content: bytes) -> None:
    """A stamp with anything in it counts as an old one."""
    (tmp_path / STAMP).write_bytes(content)
    throttle = Throttle(tmp_path, [], clock)
    assert [throttle.filter(record()) for _ in range(2)] == [True, False]


def test_debug_always_passes(tmp_path: Path, clock: Clock) -> None:
    """Who asks for debug records wants all, without secrets too."""
    throttle = Throttle(tmp_path, [SECRET], clock)
    for _ in range(3):
        debug = record(logging.DEBUG, "sent %s", SECRET)
        assert throttle.filter(debug)
        assert SECRET not in debug.getMessage()


def test_one_line_without_secrets(tmp_path: Path, clock: Clock) -> None:
    """What passes is one line, the exception's text included, and no secret stands in it."""
    failed = record(logging.ERROR, "Exception while\nexporting %s", "metrics")
    try:
        raise ValueError(f"header authorization: Bearer {SECRET}")
    except ValueError:
        failed.exc_info = sys.exc_info()
    assert Throttle(tmp_path, [f"Bearer {SECRET}", SECRET], clock).filter(failed)
    assert logging.Formatter().format(failed) == (
        "Exception while exporting metrics: ValueError: header authorization: (not shown)"
    )


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
def test_a_text_of_a_collector(tmp_path: Path, clock: Clock, text: str) -> None:
    """It is one printable line of bounded length, without any part of a secret."""
    secrets = [f"Bearer {SECRET}", "Api-Key abc%2Bdef-1/2"]
    failed = record(logging.ERROR, "Failed to export, reason: %s", text)
    assert Throttle(tmp_path, secrets, clock).filter(failed)
    line = failed.getMessage()
    assert line.isprintable()
    assert len(line) <= 1_000
    assert line.startswith("Failed to export, reason: ")
    for secret in (SECRET, "abc%2Bdef-1/2", "abc+def-1/2"):
        assert not any(secret[at : at + 8] in line for at in range(len(secret) - 7))


def test_record_that_cannot_be_formatted(tmp_path: Path, clock: Clock) -> None:
    """A record with wrong arguments is dropped, not raised."""
    assert not Throttle(tmp_path, [], clock).filter(record(logging.ERROR, "%d %d", "x"))


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


HTTP_TRACES = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
GRPC = "opentelemetry.exporter.otlp.proto.grpc.exporter"


@pytest.mark.parametrize(
    ("env", "logger", "message", "place"),
    [
        pytest.param(
            {}, HTTP_TRACES, "Failed to export spans batch code: 401",
            "http://localhost:4318/v1/traces, the default of OTEL_EXPORTER_OTLP_ENDPOINT",
            id="default",
        ),
        pytest.param(
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c/x?token=in-query"}, HTTP_TRACES, "Failed",
            "https://c/x/v1/traces, OTEL_EXPORTER_OTLP_ENDPOINT", id="all-signals",
        ),
        pytest.param(
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://all:4318",
             "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://m:4318/m"},
            "opentelemetry.exporter.otlp.proto.http.metric_exporter", "Failed, no such trace",
            "http://m:4318/m, OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", id="one-signal",
        ),
        pytest.param(
            {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
             "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://l:4317"},
            GRPC, "Failed to export logs to l:4317, error code: UNAVAILABLE, trace",
            "http://l:4317, OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", id="grpc",
        ),
    ],
)  # fmt: skip
def test_a_failure_says_where_to(
    tmp_path: Path, env: dict[str, str], logger: str, message: str, place: str
) -> None:
    """A failure's line ends with the endpoint, without its query, and the variable it is from."""
    throttle = install_throttle(tmp_path, Settings.from_env(env))
    failed = logging.LogRecord(logger, logging.ERROR, __file__, 1, message, (), None)
    assert throttle.filter(failed)
    assert failed.getMessage() == f"{message} (sent to {place})"


def test_a_short_header_is_no_secret(tmp_path: Path) -> None:
    """What stands in every other word is not taken out of the line."""
    env = {"OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=1", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:1"}
    throttle = install_throttle(tmp_path, Settings.from_env(env))
    failed = logging.LogRecord(HTTP_TRACES, logging.ERROR, __file__, 1, "code 401", (), None)
    assert throttle.filter(failed)
    assert failed.getMessage().startswith("code 401 (sent to http://c:1/v1/traces, ")


def test_installed_once(tmp_path: Path) -> None:
    """Each exporter's logger bears one filter, however often it is installed."""
    settings = Settings.from_env({})
    install_throttle(tmp_path, settings)
    latest = install_throttle(tmp_path, settings)
    for name in LOGGERS:
        assert [each for each in logging.getLogger(name).filters
                if isinstance(each, Throttle)] == [latest]  # fmt: skip


def test_retry_is_not_the_line_of_the_minute(tmp_path: Path, clock: Clock) -> None:
    """What an exporter tries again is not logged, so that its end is."""
    throttle = Throttle(tmp_path, [], clock)
    assert not throttle.filter(record(logging.WARNING, "Transient error %s, retrying", "503"))
    assert throttle.filter(record())


def test_part_of_a_secret_is_not_shown() -> None:
    """A collector may return a header in pieces; eight characters of it are not logged."""
    secrets = Secrets(["Bearer abcdefghijklmnop"])
    assert secrets.redact("token cdefghijk is unknown") == f"token {NOT_SHOWN} is unknown"
    assert secrets.redact("cdefghi") == "cdefghi"
