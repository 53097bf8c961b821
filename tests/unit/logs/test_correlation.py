"""The trace on every log record: which, where, and that nothing of the application changes."""

from __future__ import annotations

import copy
import logging
import logging.config
import pickle
import threading
from collections.abc import Iterator

import pytest
from opentelemetry import trace as trace_api

from avatar_telemetry.api.decorators import trace_avatar_operation
from avatar_telemetry.logs.correlation import CorrelatedFactory, install_correlation
from avatar_telemetry.logs.formatters import FORMAT
from avatar_telemetry.testing import recording
from tests.support.waiting import DEADLINE
from tests.support.wsgi_client import call

LOGGER = logging.getLogger("tests.application")
FIELDS = ("trace_id", "span_id", "trace_sampled", "service_name", "service.name")


class Kept(logging.Handler):
    """Keeps the records, and the lines that a format makes of them."""

    def __init__(self, form: str = FORMAT) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter(form))
        self.records: list[logging.LogRecord] = []
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.lines.append(self.format(record))

    @property
    def last(self) -> logging.LogRecord:
        return self.records[-1]


@pytest.fixture(autouse=True)
def factory() -> Iterator[None]:
    before = logging.getLogRecordFactory()
    install_correlation("pictures")
    yield
    logging.setLogRecordFactory(before)


@pytest.fixture
def kept() -> Iterator[Kept]:
    handler = Kept()
    LOGGER.addHandler(handler)
    yield handler
    LOGGER.removeHandler(handler)


def logs(environ, start_response):
    LOGGER.warning("in the application")
    start_response("200 OK", [])
    return []


def test_a_record_bears_the_current_span(kept: Kept) -> None:
    """Inside a request a record names trace and span that are current, and the service."""
    seen = []

    def application(environ, start_response):
        LOGGER.warning("in the request")
        with trace_avatar_operation("draw") as span:
            seen.append(span.get_span_context())
            LOGGER.warning("in a span inside")
        start_response("200 OK", [])
        return []

    with recording() as recorded:
        call(recorded.wrap(application), path="/about/")
        server = recorded.spans()[-1].context
    outer, inner = kept.records
    assert (outer.trace_id, outer.span_id) == (f"{server.trace_id:032x}", f"{server.span_id:016x}")
    assert (inner.trace_id, inner.span_id) == (outer.trace_id, f"{seen[0].span_id:016x}")
    assert outer.trace_sampled is inner.trace_sampled is True
    assert outer.service_name == vars(outer)["service.name"] == "pictures"
    assert (
        f"trace_id={outer.trace_id} span_id={outer.span_id} service.name=pictures" in kept.lines[0]
    )


def test_a_trace_that_is_not_recorded(kept: Kept) -> None:
    """Of a request that is not sampled a record names the trace, and says so."""
    with recording(environ={"OTEL_TRACES_SAMPLER": "always_off"}) as recorded:
        call(recorded.wrap(logs), path="/about/")
        assert not recorded.spans()
    assert len(kept.last.trace_id) == 32
    assert kept.last.trace_sampled is False


def test_outside_of_a_request_the_fields_say_nothing(kept: Kept) -> None:
    """A format that names the fields never fails."""
    LOGGER.warning("outside")
    assert [getattr(kept.last, name) for name in FIELDS[:3]] == ["0", "0", False]
    assert "trace_id=0 span_id=0 service.name=pictures" in kept.lines[0]
    with recording() as recorded:
        call(recorded.wrap(logs), path="/about/")
    LOGGER.warning("outside again")
    assert kept.last.trace_id == "0"


def test_each_thread_has_its_own(kept: Kept) -> None:
    """Requests in several threads at once log their own trace each."""
    barrier = threading.Barrier(4, timeout=DEADLINE)

    def application(environ, start_response):
        for _ in range(50):
            barrier.wait()
            LOGGER.warning(environ["avatar_telemetry.trace_id"])
        start_response("200 OK", [])
        return []

    with recording() as recorded:
        wrapped = recorded.wrap(application)
        threads = [threading.Thread(target=call, args=(wrapped,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(DEADLINE)
    assert len(kept.records) == 200
    assert all(record.getMessage() == record.trace_id for record in kept.records)


@pytest.mark.parametrize("name", FIELDS)
def test_an_extra_of_the_application_stands(kept: Kept, name: str) -> None:
    """An application that gives such a field itself does not fail for ours; its own is told."""
    LOGGER.warning("mine", extra={name: "mine"})
    assert vars(kept.last)[name] == "mine"


def test_another_extra_that_is_refused_is_still_refused() -> None:
    """What Python refuses of an extra, it goes on to refuse."""
    with pytest.raises(KeyError):
        LOGGER.warning("mine", extra={"name": "x"})


def test_a_factory_that_is_set_before_is_called(kept: Kept) -> None:
    """The application's factory makes the record, and what it says of the trace stands."""

    def mine(*args, **options):
        record = logging.LogRecord(*args, **options)
        record.span_id = "mine"
        record.tenant = "somebody"
        return record

    logging.setLogRecordFactory(mine)
    install_correlation("pictures")
    LOGGER.warning("hello")
    assert (kept.last.tenant, kept.last.span_id, kept.last.trace_id) == ("somebody", "mine", "0")


def test_a_factory_that_is_set_later_may_call_ours(kept: Kept) -> None:
    """Ours can be chained; installed again above it, what it made of ours stands."""
    ours = logging.getLogRecordFactory()

    def mine(*args, **options):
        record = ours(*args, **options)
        record.trace_id = "mine"
        return record

    logging.setLogRecordFactory(mine)
    install_correlation("pictures")
    LOGGER.warning("hello")
    assert (kept.last.trace_id, kept.last.service_name) == ("mine", "pictures")


def test_it_is_installed_once() -> None:
    """Installing again does not pile up."""
    for name in ("a", "b", "c"):
        install_correlation(name)
    factory = logging.getLogRecordFactory()
    assert isinstance(factory, CorrelatedFactory)
    assert not isinstance(factory.inner, CorrelatedFactory)
    assert logging.makeLogRecord({}).service_name == "c"


def test_a_broken_factory_fails_as_it_did() -> None:
    """What the application's factory raises is the application's; a strange record passes."""

    class Slots:
        __slots__ = ()

    assert isinstance(CorrelatedFactory(lambda: Slots(), "x")(), Slots)
    with pytest.raises(ZeroDivisionError):
        CorrelatedFactory(lambda: 1 / 0, "x")()


def test_a_broken_span_costs_the_trace_alone(kept: Kept) -> None:
    """Where the current span raises, the record comes without a trace."""

    class Broken(trace_api.NonRecordingSpan):
        def get_span_context(self):
            raise OSError

    with trace_api.use_span(Broken(trace_api.INVALID_SPAN_CONTEXT)):
        kept.setFormatter(logging.Formatter("%(message)s"))
        LOGGER.warning("still here")
    assert kept.lines == ["still here"]


def test_dict_config_leaves_it_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """A format of dictConfig finds the fields, and the configuration does not remove them."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"f": {"format": "%(trace_id)s %(message)s"}},
            "handlers": {"h": {"class": "logging.StreamHandler", "formatter": "f"}},
            "loggers": {"tests.configured": {"handlers": ["h"], "propagate": False}},
        }
    )
    logging.getLogger("tests.configured").warning("hello")
    assert capsys.readouterr().err == "0 hello\n"


@pytest.mark.parametrize(
    "passed_on", [copy.copy, copy.deepcopy, lambda record: pickle.loads(pickle.dumps(record))]
)
def test_a_record_can_be_passed_on(kept: Kept, passed_on) -> None:
    """Handlers that queue or send records can copy and pickle them; a pickle does not need us."""
    LOGGER.warning("hello %s", "you")
    record = passed_on(kept.last)
    assert (record.getMessage(), record.trace_id) == ("hello you", "0")
    assert b"avatar_telemetry" not in pickle.dumps(kept.last)
