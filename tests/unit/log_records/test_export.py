"""Log records over OTLP: which are taken, what is told of them, and how they leave."""

from __future__ import annotations

import logging
import logging.config
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource

from avatar_telemetry.config.settings import Settings
from avatar_telemetry.guard import Guard
from avatar_telemetry.log_records.pipeline import LogPipeline
from avatar_telemetry.testing import recording
from tests.support.forked import in_child
from tests.support.otlp_faults import Fault
from tests.support.otlp_fixtures import grpc_sink, sink
from tests.support.otlp_grpc_sink import GrpcSink
from tests.support.otlp_records import ReceivedLog, plain
from tests.support.otlp_sink import OtlpSink
from tests.support.wsgi_client import call

__all__ = ["grpc_sink", "sink"]
LOGGER = logging.getLogger("tests.exported")
FAR = 60.0


class Exported:
    """A log pipeline in this process, and what it counted."""

    def __init__(self, address: str, **environ: str) -> None:
        self.counted: Counter[str] = Counter()
        self.failures: list[str] = []
        variables = {
            "OTEL_EXPORT_ENABLED": "true", "OTEL_LOGS_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_ENDPOINT": address, "OTEL_BLRP_SCHEDULE_DELAY": "10", **environ,
        }  # fmt: skip
        guard = Guard(self.failures.append)
        resource = Resource({"service.name": "pictures", "process.pid": os.getpid()})
        settings = Settings.from_env(variables)
        self.pipeline = LogPipeline(settings, resource, guard, self._count)
        self.pipeline.attach()

    def _count(self, result: str, number: int) -> None:
        self.counted[result] += number

    def stop(self, seconds: float = FAR) -> None:
        self.pipeline.begin_stop()
        self.pipeline.stop(time.monotonic() + seconds)


@pytest.fixture
def export(sink: OtlpSink) -> Iterator[Any]:
    """Makes pipelines to the sink, and ends them with the test."""
    made: list[Exported] = []

    def make(address: str = sink.url, **environ: str) -> Exported:
        made.append(Exported(address, **environ))
        return made[-1]

    before = logging.getLogger().handlers[:]
    yield make
    for each in made:
        each.stop(0.0)
    logging.getLogger().handlers[:] = before


def body(log: ReceivedLog) -> str:
    return log.proto.body.string_value


def test_what_arrives_of_a_record(
    export: Any, sink: OtlpSink, caplog: pytest.LogCaptureFixture
) -> None:
    """Severity, message, place, logger and service of a warning or worse arrive."""
    caplog.set_level(logging.INFO, LOGGER.name)
    exported = export()
    LOGGER.info("too quiet")
    LOGGER.warning("no picture in %s steps", 3)
    LOGGER.log(45, "worse")
    LOGGER.critical("worst")
    exported.stop()
    logs = sink.logs()
    severities = [(body(log), log.proto.severity_text, log.proto.severity_number) for log in logs]
    assert severities == [
        ("no picture in 3 steps", "WARN", 13), ("worse", "ERROR", 17), ("worst", "FATAL", 21),
    ]  # fmt: skip
    first = logs[0]
    assert (first.scope, first.resource["service.name"]) == ("tests.exported", "pictures")
    told = plain(first.proto.attributes)
    assert told["code.file.path"] == __file__
    assert told["code.function.name"] == "test_what_arrives_of_a_record"
    assert abs(first.proto.time_unix_nano / 1e9 - time.time()) < FAR
    assert first.proto.trace_id == b""
    assert exported.counted == {"exported": 3}
    assert not exported.failures


def test_it_belongs_to_its_span(export: Any, sink: OtlpSink) -> None:
    """A record that is made inside a request bears the ids of the current span."""
    exported = export()

    def application(environ, start_response):
        LOGGER.warning("inside")
        start_response("200 OK", [])
        return []

    with recording() as recorded:
        call(recorded.wrap(application), path="/about/")
        context = recorded.spans()[-1].context
    exported.stop()
    (log,) = sink.logs()
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
def test_it_is_scrubbed(export: Any, sink: OtlpSink, mode, message, stack) -> None:
    """Message, arguments and exception pass through the privacy mode."""
    exported = export(AVATAR_TELEMETRY_PRIVACY=mode)
    try:
        raise ValueError("for bob@example.org")
    except ValueError:
        LOGGER.exception("mail to %s", "ann@example.org", extra={"mail": "eve@example.org"})
    exported.stop()
    (log,) = sink.logs()
    told = plain(log.proto.attributes)
    assert body(log) == message
    assert told["exception.type"] == "ValueError"
    assert (stack in told["exception.stacktrace"]) if stack else "exception.message" not in told
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
def test_what_an_export_may_cause_is_never_exported(export: Any, sink: OtlpSink, name: str) -> None:
    """Records of exporters, of what they send with, and our own do not lead to further ones."""
    exported = export()
    logging.getLogger(name).error("would come back")
    LOGGER.error("the application's")
    exported.stop()
    assert [body(log) for log in sink.logs()] == ["the application's"]


def test_what_is_logged_while_sending_is_not_sent(export: Any, sink: OtlpSink) -> None:
    """A record made in a thread of ours, whatever its logger, is not exported."""
    exported = export()
    thread = threading.Thread(target=lambda: LOGGER.error("x"), name="avatar-telemetry-logs")
    thread.start()
    thread.join(FAR)
    exported.stop()
    assert sink.logs() == []


class Broken:
    def __str__(self) -> str:
        raise OSError("broken")

    __repr__ = __str__


@pytest.mark.parametrize(
    "record", [("%d", "x"), ("%s", Broken()), (Broken(),), ("\ud800 and %s", "\udfff"), (None,)]
)
def test_a_strange_record_harms_nobody(export: Any, sink: OtlpSink, monkeypatch, record) -> None:
    """Whatever is logged, the application goes on and something of it arrives."""
    monkeypatch.setattr(logging, "raiseExceptions", False)
    exported = export()
    LOGGER.error(*record)
    exported.stop()
    assert len(sink.logs()) == 1
    assert not exported.failures


def test_the_queue_is_bounded(export: Any, sink: OtlpSink) -> None:
    """With a collector that does not answer, records beyond the queue are dropped and counted."""
    sink.behave(Fault.BLACKHOLE)
    exported = export(OTEL_BLRP_MAX_QUEUE_SIZE="8", OTEL_BLRP_MAX_EXPORT_BATCH_SIZE="8")
    for number in range(50):
        LOGGER.warning("record %d", number)
    assert exported.counted["dropped"] >= 50 - 2 * 8
    started = time.monotonic()
    exported.stop(0.2)
    assert time.monotonic() - started < FAR / 2
    assert exported.counted == {"dropped": 50}


def test_a_collector_that_refuses(export: Any, sink: OtlpSink) -> None:
    """What a collector refuses is counted as failed, and nothing is logged without end."""
    sink.behave(Fault.STATUS, status=400)
    exported = export()
    LOGGER.warning("refused")
    exported.stop()
    assert exported.counted == {"failed": 1}
    assert len(sink.exchanges()) == 1


def test_a_collector_that_takes_a_part(export: Any, sink: OtlpSink) -> None:
    """What a collector says that it did not take (OTLP, partial success) is counted as failed."""
    sink.behave(Fault.PARTIAL_SUCCESS, rejected=2)
    exported = export(OTEL_BLRP_SCHEDULE_DELAY="60000")
    for _ in range(3):
        LOGGER.warning("some")
    exported.stop()
    assert exported.counted == {"exported": 1, "failed": 2}


def test_over_grpc(export: Any, grpc_sink: GrpcSink) -> None:
    """The same over gRPC."""
    exported = export(f"http://{grpc_sink.address}", OTEL_EXPORTER_OTLP_PROTOCOL="grpc")
    LOGGER.warning("hello")
    exported.stop()
    assert [body(log) for log in grpc_sink.logs()] == ["hello"]


def test_dict_config_takes_it_away_and_it_comes_back(export: Any, sink: OtlpSink) -> None:
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
            exported.pipeline.attach()
        LOGGER.warning("seen")
    finally:
        for handler in handlers:
            root.addHandler(handler)
        root.setLevel(level)
    exported.stop()
    assert [body(log) for log in sink.logs()] == ["seen"]


def test_a_second_one_takes_the_place_of_the_first(export: Any, sink: OtlpSink) -> None:
    """In a forked child, which has its parent's handler and makes its own, a record goes once."""
    first, second = export(), export()
    LOGGER.warning("once")
    first.stop()
    second.stop()
    assert [body(log) for log in sink.logs()] == ["once"]


def test_a_forked_child_says_who_it_is(export: Any, sink: OtlpSink) -> None:
    """What a child logs is of its own process, not of its parent's."""
    exported = export()

    def child() -> str:
        exported.pipeline.renew()
        LOGGER.warning("of the child")
        exported.stop()
        return str(os.getpid())

    pid = in_child(child)
    (log,) = sink.logs()
    assert str(log.resource["process.pid"]) == pid != str(os.getpid())


def test_python_goes_on_to_show_what_nobody_handles(
    export: Any, sink: OtlpSink, monkeypatch
) -> None:
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
    exported.stop()
    assert shown.getvalue() == "shown\n"
    assert [body(log) for log in sink.logs()] == ["shown", "handled"]


def test_the_application_has_what_it_had(export: Any) -> None:
    """Levels and handlers of the application stay; after the stop so does the root logger."""
    root = logging.getLogger()
    before = (root.level, root.handlers[:], LOGGER.level, LOGGER.handlers[:])
    exported = export()
    assert len(root.handlers) == len(before[1]) + 1
    exported.stop()
    assert (root.level, root.handlers, LOGGER.level, LOGGER.handlers) == before
