"""The trace context of a caller, and the limits of its use."""

from __future__ import annotations

import gc
import logging
import sys
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry import baggage, trace
from opentelemetry import context as context_api
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags

from avatar_telemetry.tracing.incoming import MAX_MEMBERS, NO_CALLER, Incoming, make_propagator
from avatar_telemetry.tracing.sampling import make_sampling
from tests.support.providers import Ours
from tests.support.requirements import require

STANDARD = make_propagator(["tracecontext", "baggage"])
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{SPAN}-01"
HEADERS = {
    "HTTP_TRACEPARENT": SAMPLED,
    "HTTP_TRACESTATE": "vendor=x",
    "HTTP_BAGGAGE": "user=somebody",
}


def test_continue() -> None:
    """A trusted caller's span is the parent, its state and its baggage go on."""
    caller = Incoming(STANDARD, "continue").caller(dict(HEADERS))
    assert caller.link is None
    assert caller.parent is not None
    assert (f"{caller.parent.trace_id:032x}", f"{caller.parent.span_id:016x}") == (TRACE, SPAN)
    assert caller.parent.is_remote
    assert caller.parent.trace_flags.sampled
    assert dict(caller.parent.trace_state) == {"vendor": "x"}
    assert baggage.get_baggage("user", caller.context) == "somebody"


def test_link() -> None:
    """A caller who is not trusted is only pointed to; its baggage is left out."""
    caller = Incoming(STANDARD, "link").caller(dict(HEADERS))
    assert caller.parent is None
    assert caller.link is not None
    assert f"{caller.link.trace_id:032x}" == TRACE
    assert not caller.link.trace_state
    assert not baggage.get_all(caller.context)


def test_ignore() -> None:
    """A caller who is not looked at leaves nothing."""
    caller = Incoming(STANDARD, "ignore").caller(dict(HEADERS))
    assert (caller.parent, caller.link, dict(caller.context)) == (None, None, {})


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"HTTP_BAGGAGE": "ma\xe9rked,marked" + ",marked" * 300}, id="baggage"),
        pytest.param({"HTTP_BAGGAGE": "marked=" + "x" * 20_000}, id="long baggage"),
        pytest.param({"HTTP_TRACEPARENT": SAMPLED, "HTTP_TRACESTATE": "MARKED=a=b,marked"},
                     id="state"),
        pytest.param({"HTTP_TRACEPARENT": SAMPLED, "HTTP_TRACESTATE": "marked=1,marked=2"},
                     id="state, twice"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("trust", ["continue", "link"])
def test_malformed_headers_are_not_logged(headers, trust, caplog) -> None:
    """No part of what a caller sends stands in a log, and no request fills one."""
    with caplog.at_level("DEBUG"):
        Incoming(STANDARD, trust).caller(headers)
        assert "marked" not in caplog.text.lower()
        assert "xxxxx" not in caplog.text
    caplog.clear()
    Incoming(STANDARD, trust).caller(headers)
    assert not caplog.records


def test_warnings_of_the_api_elsewhere_are_logged(caplog) -> None:
    """Only what comes of a caller is kept out of the log."""
    trace.TraceState([("MINE", "=")])
    assert "MINE" in caplog.text


UNBOUNDED = [
    pytest.param("HTTP_BAGGAGE", "a=b" + " \t" * 4000 + ",c=d", id="blanks"),
    pytest.param("HTTP_TRACESTATE", "a=b" + " \t" * 200 + ",c=d", id="blanks in the state"),
    pytest.param("HTTP_BAGGAGE", "\xc3\xa9=1,a=b", id="not ASCII"),
    pytest.param("HTTP_BAGGAGE", ",".join(f"k{n}=v" for n in range(181)), id="181 members"),
    pytest.param("HTTP_BAGGAGE", "a=b,c=" + "d" * 8192, id="8198 bytes"),
    pytest.param("HTTP_TRACESTATE", "a=" + "b" * 250 + ",c=" + "d" * 250 + ",e=" + "f" * 10,
                 id="517 characters of state"),
    pytest.param("HTTP_TRACESTATE", b"a=b", id="bytes"),
]  # fmt: skip


@pytest.mark.parametrize(("header", "value"), UNBOUNDED)
def test_a_header_that_costs_too_much_is_absent(header: str, value: Any) -> None:
    """Only that header counts as absent: the trace of the caller goes on."""
    caller = Incoming(STANDARD, "continue").caller({"HTTP_TRACEPARENT": SAMPLED, header: value})
    assert caller.parent is not None
    assert f"{caller.parent.trace_id:032x}" == TRACE
    assert (dict(caller.parent.trace_state), baggage.get_all(caller.context)) == ({}, {})


@pytest.mark.parametrize(
    ("header", "value"),
    [
        pytest.param("HTTP_BAGGAGE", ",".join(f"k{n}=v" for n in range(180)), id="members"),
        pytest.param("HTTP_BAGGAGE", "a=" + "b" * 4094 + ",c=" + "d" * 4092, id="bytes"),
        pytest.param("HTTP_TRACESTATE", "a=" + "b" * 252 + ",c=" + "d" * 255, id="state"),
    ],
)
def test_the_largest_headers_are_read(header: str, value: str) -> None:
    """The limits of W3C are what is still read."""
    caller = Incoming(STANDARD, "continue").caller({"HTTP_TRACEPARENT": SAMPLED, header: value})
    assert caller.parent is not None
    read = baggage.get_all(caller.context) or caller.parent.trace_state
    assert len(read) == value.count(",") + 1


def records_made(headers: dict[str, str], trust: Any) -> int:
    """The number of log records built while the headers are read, also of filtered ones."""
    made = []
    factory = logging.getLogRecordFactory()

    def count(*args: Any, **options: Any) -> logging.LogRecord:
        made.append(args)
        return factory(*args, **options)

    logging.setLogRecordFactory(count)
    try:
        Incoming(STANDARD, trust).caller(headers)
    finally:
        logging.setLogRecordFactory(factory)
    return len(made)


def calls_made(headers: dict[str, str], trust: Any) -> int:
    """The number of function calls while the headers are read."""
    made = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal made
        made += event in ("call", "c_call")

    incoming = Incoming(STANDARD, trust)
    before = sys.getprofile()
    gc.disable()  # the finalizers and callbacks of a collection are calls, too
    sys.setprofile(count)
    try:
        incoming.caller(headers)
    finally:
        sys.setprofile(before)
        gc.enable()
    return made


@pytest.mark.parametrize("header", ["HTTP_BAGGAGE", "HTTP_TRACESTATE", "HTTP_TRACEPARENT"])
@pytest.mark.parametrize("member", ["\xe9,", "a,", "a=b,", "=,", ",", "\t,", "a=\xff,", "%=%,"])
@pytest.mark.parametrize("trust", ["continue", "link", "ignore"])
def test_the_work_of_a_header_is_bounded(header: str, member: str, trust: Any) -> None:
    """Doubling a header adds work up to a bound, far below that of 8 KiB of members."""
    sizes = [1 << power for power in range(13)]
    sent = [{"HTTP_TRACEPARENT": SAMPLED, header: member * size} for size in sizes]
    records = [records_made(headers, trust) for headers in sent]
    calls = [calls_made(headers, trust) for headers in sent]
    assert max(records) <= (MAX_MEMBERS if trust == "continue" else 1)
    assert calls[-1] <= max(calls[:9])
    assert max(calls) <= 100 * MAX_MEMBERS
    if trust == "ignore":
        assert max(records) == 0


@pytest.mark.parametrize("trust", ["link", "ignore"])
def test_baggage_is_not_parsed_without_trust(trust: Any) -> None:
    """Where baggage is not used, its parser is not called, whatever else is sent."""
    headers = {"HTTP_TRACEPARENT": SAMPLED, "HTTP_BAGGAGE": "a,b," * 40}
    assert records_made(headers, trust) == 0
    assert Incoming(STANDARD, trust).caller({"HTTP_BAGGAGE": "a=b"}) is NO_CALLER


def test_baggage_alone() -> None:
    """Baggage comes without a trace, too."""
    caller = Incoming(STANDARD, "continue").caller({"HTTP_BAGGAGE": "user=somebody"})
    assert caller.parent is None
    assert baggage.get_baggage("user", caller.context) == "somebody"


@pytest.mark.parametrize("trust", ["continue", "link", "ignore"])
def test_a_span_that_is_current_already(trust: Any) -> None:
    """An outer middleware of the same process is believed before any header."""
    outer = SpanContext(5, 6, False, TraceFlags(1))
    context = trace.set_span_in_context(NonRecordingSpan(outer), context_api.Context())
    token = context_api.attach(context)
    try:
        caller = Incoming(STANDARD, trust).caller(dict(HEADERS))
    finally:
        context_api.detach(token)
    assert (caller.parent, caller.link) == (outer, None)
    assert caller.context == context


@pytest.mark.parametrize("headers", [{}, HEADERS], ids=["none", "headers"])
def test_a_context_without_a_span(headers: dict[str, str]) -> None:
    """Other values of the current context stay in it."""
    token = context_api.attach(context_api.Context({"mine": 1}))
    try:
        caller = Incoming(STANDARD, "continue").caller(dict(headers))
    finally:
        context_api.detach(token)
    assert caller.context["mine"] == 1
    assert (caller.parent is not None) == bool(headers)


MALFORMED = [
    "", "00", "garbage", SAMPLED.upper(), SAMPLED + "-more", SAMPLED[:-1], "ff" + SAMPLED[2:],
    f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE}-{SPAN}-zz",
    "00-" + "g" * 32 + f"-{SPAN}-01", "\xff\xfe\x00", SAMPLED.replace("-", "_"), "٣" * 55,
]  # fmt: skip


@pytest.mark.parametrize("value", MALFORMED)
@pytest.mark.parametrize("trust", ["continue", "link"])
def test_malformed_parents(value: str, trust: Any) -> None:
    """A traceparent that is none counts as none."""
    caller = Incoming(STANDARD, trust).caller({"HTTP_TRACEPARENT": value})
    assert (caller.parent, caller.link) == (None, None)


TEXTS = st.text(st.characters(max_codepoint=0xFF), max_size=80)
PARENTS = TEXTS | st.from_regex(r"\A[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\Z")


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "HTTP_TRACEPARENT": PARENTS,
            "HTTP_TRACESTATE": TEXTS | st.lists(TEXTS, max_size=40).map(",".join),
            "HTTP_BAGGAGE": TEXTS | st.lists(TEXTS, max_size=40).map(",".join),
        },
    ),
    st.sampled_from(["continue", "link", "ignore"]),
)
@example({"HTTP_BAGGAGE": "a=%ff%zz;=;;,,=,%=%"}, "continue")
@example({"HTTP_TRACEPARENT": SAMPLED, "HTTP_TRACESTATE": "=,a=,=b,a=b=c," * 40}, "continue")
def test_no_header_raises(headers: dict[str, str], trust: Any) -> None:
    """Whatever a client sends, there is a caller, valid or none."""
    caller = Incoming(STANDARD, trust).caller(dict(headers))
    for each in (caller.parent, caller.link):
        assert each is None or each.is_valid


class Brittle:
    """A propagator of somebody's that raises on what it does not know."""

    fields = frozenset({"x-trace"})

    def extract(self, carrier: Any, context: Any = None, getter: Any = None) -> Any:
        raise ValueError("not mine")


def test_a_propagator_that_raises() -> None:
    """Where a propagator cannot read a header, nobody has called."""
    caller = Incoming(Brittle(), "continue").caller({"HTTP_X_TRACE": "1"})  # type: ignore[arg-type]
    assert (caller.parent, caller.link, dict(caller.context)) == (None, None, {})


def test_no_propagators() -> None:
    """With OTEL_PROPAGATORS=none no header is read."""
    caller = Incoming(make_propagator(["none"]), "continue").caller(dict(HEADERS))
    assert (caller.parent, caller.link, dict(caller.context)) == (None, None, {})


@pytest.mark.parametrize(
    ("name", "headers"),
    [
        pytest.param("b3", {"HTTP_B3": f"{TRACE}-{SPAN}-1"}, id="single"),
        pytest.param("b3multi", {"HTTP_X_B3_TRACEID": TRACE, "HTTP_X_B3_SPANID": SPAN,
                                 "HTTP_X_B3_SAMPLED": "1"}, id="multi"),
    ],
)  # fmt: skip
def test_installed_propagators(name: str, headers: dict[str, str]) -> None:
    """A propagator that is installed is used, with the headers that it knows."""
    require("opentelemetry.propagators.b3")
    caller = Incoming(make_propagator([name]), "continue").caller({**HEADERS, **headers})
    assert caller.parent is not None
    assert caller.parent.trace_flags.sampled
    assert f"{caller.parent.span_id:016x}" == SPAN
    assert not baggage.get_all(caller.context)


@pytest.mark.parametrize(
    ("trust", "sampler", "recorded"),
    [
        pytest.param("continue", "parentbased_always_off", True, id="continue, by parent"),
        pytest.param("continue", "always_off", False, id="continue, never"),
        pytest.param("link", "parentbased_always_off", False, id="link"),
        pytest.param("ignore", "parentbased_always_off", False, id="ignore"),
        pytest.param("link", "parentbased_always_on", True, id="link, always"),
    ],
)
def test_who_decides_about_recording(trust: Any, sampler: str, recorded: bool) -> None:
    """A caller's sampled flag forces recording only where its trace is gone on with."""
    tracer = Ours(make_sampling(sampler, "")).tracer
    caller = Incoming(STANDARD, trust).caller(dict(HEADERS))
    span = tracer.start_root("name", SpanKind.SERVER, 1, caller.parent)
    assert span.is_recording() == recorded
    assert (f"{span.trace_id:032x}" == TRACE) == (trust == "continue")
