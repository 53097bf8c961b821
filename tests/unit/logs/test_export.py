"""Log records for export: which are taken, and their content."""

from __future__ import annotations

import logging
import logging.config
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from typing import Any

import pytest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from avatar_telemetry._base.guard import Guard
from avatar_telemetry._base.log import REQUESTS
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.http.privacy import Privacy
from avatar_telemetry.logs.export import Encoder, ExportHandler
from avatar_telemetry.testing import recording
from avatar_telemetry.wsgi.request import sent_by_client
from tests.support.frames import log_record
from tests.support.otlp_records import plain
from tests.support.wsgi_client import call

LOGGER = logging.getLogger("tests.exported")


@dataclass
class Log:
    """A log record as it was written."""

    scope: str
    proto: LogRecord

    @property
    def body(self) -> str:
        return self.proto.body.string_value


class Exported:
    """A handler of this process, and the frames that it wrote."""

    def __init__(self, **environ: str) -> None:
        self.failures: list[str] = []
        self.payloads: list[bytes] = []
        variables = {"OTEL_EXPORT_ENABLED": "true", "OTEL_LOGS_EXPORTER": "otlp", **environ}
        guard = Guard(self.failures.append)
        settings = Settings.from_env(variables)
        privacy = Privacy(settings.privacy, b"unused", sent=sent_by_client)
        self.handler = ExportHandler(Encoder(privacy).encode, self.put, guard)
        self.handler.attach()

    def put(self, payload: bytes) -> bool:
        self.payloads.append(payload)
        return True

    def logs(self) -> list[Log]:
        return [Log(*log_record(payload)) for payload in self.payloads]


@pytest.fixture
def export() -> Iterator[Any]:
    """Makes handlers, and detaches them with the test."""
    made: list[Exported] = []

    def make(**environ: str) -> Exported:
        made.append(Exported(**environ))
        return made[-1]

    before = logging.getLogger().handlers[:]
    yield make
    for each in made:
        each.handler.detach()
    logging.getLogger().handlers[:] = before


def test_what_arrives_of_a_record(export: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Severity, message, place, logger and service of a warning or worse arrive."""
    caplog.set_level(logging.INFO, LOGGER.name)
    exported = export()
    before = time.time()
    LOGGER.info("too quiet")
    LOGGER.warning("no picture in %s steps", 3)
    LOGGER.log(45, "worse")
    LOGGER.critical("worst")
    logs = exported.logs()
    severities = [(log.body, log.proto.severity_text, log.proto.severity_number) for log in logs]
    assert severities == [
        ("no picture in 3 steps", "WARN", 13), ("worse", "ERROR", 17), ("worst", "FATAL", 21),
    ]  # fmt: skip
    first = logs[0]
    assert first.scope == "tests.exported"
    seen = plain(first.proto.attributes)
    assert seen["code.file.path"] == __file__
    assert seen["code.function.name"] == "test_what_arrives_of_a_record"
    assert before <= first.proto.time_unix_nano / 1e9 + 0.001
    assert first.proto.time_unix_nano / 1e9 - 0.001 <= time.time()
    assert first.proto.trace_id == b""
    assert not exported.failures


def test_it_belongs_to_its_span(export: Any) -> None:
    """A record that is made inside a request bears the ids of the current span."""
    exported = export()

    def application(environ, start_response):
        LOGGER.warning("inside")
        start_response("200 OK", [])
        return []

    with recording() as recorded:
        call(recorded.wrap(application), path="/about/")
        context = recorded.spans()[-1].context
    (log,) = exported.logs()
    assert log.proto.trace_id == context.trace_id.to_bytes(16, "big")
    assert log.proto.span_id == context.span_id.to_bytes(8, "big")
    assert log.proto.flags & 1


@pytest.mark.parametrize(
    ("mode", "message", "stack"),
    [
        ("off", "mail to ann@example.org", "raise ValueError"),
        ("balanced", "mail to REDACTED", "in test_it_is_scrubbed"),
        ("strict", "", None),
    ],
)
def test_it_is_scrubbed(export: Any, mode, message, stack) -> None:
    """Message, arguments and exception pass through the privacy mode."""
    exported = export(AVATAR_TELEMETRY_PRIVACY=mode)
    try:
        raise ValueError("for bob@example.org")
    except ValueError:
        LOGGER.exception("mail to %s", "ann@example.org", extra={"mail": "eve@example.org"})
    (log,) = exported.logs()
    seen = plain(log.proto.attributes)
    assert log.body == message
    assert seen["exception.type"] == "ValueError"
    assert (stack in seen["exception.stacktrace"]) if stack else "exception.message" not in seen
    everything = str(log.proto)
    assert ("ann@" in everything, "bob@" in everything) == ((mode == "off"),) * 2
    assert "eve@" not in everything, "an extra is not exported"


@pytest.mark.parametrize(
    "name",
    [
        "avatar_telemetry",
        "opentelemetry.sdk",
        "urllib3.connectionpool",
        "requests",
        "grpc._x",
        "ivatar.opentelemetry",
    ],
)
def test_what_an_export_may_cause_is_never_exported(export: Any, name: str) -> None:
    """Records of exporters, of the libraries that they send with, and our own cause no others."""
    exported = export()
    logging.getLogger(name).error("would come back")
    LOGGER.error("the application's")
    assert [log.body for log in exported.logs()] == ["the application's"]


@pytest.mark.parametrize("mode", ["off", "balanced", "strict"])
def test_records_about_requests_of_the_application(export: Any, mode: str) -> None:
    """They are exported, from a thread of ours too, and unchanged: they have no client data."""
    exported = export(AVATAR_TELEMETRY_PRIVACY=mode)
    text = "slow request: GET /avatar/{digest} after 1.0 s, stack: f (pages/views.py:12345)"
    thread = threading.Thread(target=lambda: REQUESTS.warning(text), name="avatar-telemetry-x")
    thread.start()
    thread.join()
    (log,) = exported.logs()
    assert (log.scope, log.body) == ("avatar_telemetry.requests", text)


def test_record_of_a_thread_of_ours(export: Any) -> None:
    """A record made in a thread of ours, whatever its logger, is not exported."""
    exported = export()
    thread = threading.Thread(target=lambda: LOGGER.error("x"), name="avatar-telemetry-logs")
    thread.start()
    thread.join()
    assert exported.logs() == []


class Broken:
    def __str__(self) -> str:
        raise OSError("broken")

    __repr__ = __str__


@pytest.mark.parametrize(
    "record", [("%d", "x"), ("%s", Broken()), (Broken(),), ("\ud800 and %s", "\udfff"), (None,)]
)
def test_odd_records(export: Any, monkeypatch, record) -> None:
    """Whatever is logged, the application goes on and something of it arrives."""
    monkeypatch.setattr(logging, "raiseExceptions", False)
    exported = export()
    LOGGER.error(*record)
    assert len(exported.logs()) == 1
    assert not exported.failures


@pytest.mark.parametrize(
    "fields",
    [
        {"created": -1.0},
        {"created": float("nan")},
        {"created": None},
        {"levelno": "WARNING"},
        {"exc_info": 5},
        {"name": None},
        {"pathname": None},
    ],
    ids=lambda fields: str(*fields),
)
def test_record_of_wrong_types(export: Any, fields: dict[str, Any]) -> None:
    """Applications make records of any content; one that cannot be encoded is counted."""
    exported = export()
    record = logging.makeLogRecord({"msg": "odd", "levelno": 30, "name": LOGGER.name, **fields})
    exported.handler.emit(record)
    assert bool(exported.payloads) != bool(exported.failures)


def test_dict_config_takes_it_away_and_it_comes_back(export: Any) -> None:
    """``dictConfig`` of the root logger removes it; attached again it works, and stands once."""
    exported = export()
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    try:
        logging.config.dictConfig(
            {"version": 1, "disable_existing_loggers": False, "root": {"handlers": []}}
        )
        LOGGER.warning("lost")
        for _ in range(3):
            exported.handler.attach()
        LOGGER.warning("seen")
    finally:
        for handler in handlers:
            root.addHandler(handler)
        root.setLevel(level)
    assert [log.body for log in exported.logs()] == ["seen"]


def test_a_second_one_takes_the_place_of_the_first(export: Any) -> None:
    """In a forked child, which has its parent's handler and makes its own, a record goes once."""
    first, second = export(), export()
    LOGGER.warning("once")
    assert first.logs() == []
    assert [log.body for log in second.logs()] == ["once"]


def test_python_goes_on_to_show_what_nobody_handles(export: Any, monkeypatch) -> None:
    """Without any handler of the application, warnings stand on standard error as before; with
    one, they do not."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    exported = export()
    shown = StringIO()
    monkeypatch.setattr(sys, "stderr", shown)
    LOGGER.warning("shown")
    LOGGER.info("quiet")
    own = logging.NullHandler()
    LOGGER.addHandler(own)
    LOGGER.warning("handled")
    LOGGER.removeHandler(own)
    monkeypatch.undo()
    assert shown.getvalue() == "shown\n"
    assert [log.body for log in exported.logs()] == ["shown", "handled"]


def test_the_application_has_what_it_had(export: Any) -> None:
    """Levels and handlers of the application stay; after the stop so does the root logger."""
    root = logging.getLogger()
    before = (root.level, root.handlers[:], LOGGER.level, LOGGER.handlers[:])
    exported = export()
    assert len(root.handlers) == len(before[1]) + 1
    exported.handler.detach()
    assert (root.level, root.handlers, LOGGER.level, LOGGER.handlers) == before
