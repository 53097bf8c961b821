"""The encoder of log records, compared with the official one."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

from avatar_telemetry.http.privacy import Privacy
from avatar_telemetry.logs.encoder import encode_record
from avatar_telemetry.logs.export import Encoder
from avatar_telemetry.tracing.encoder import encode_scope
from tests.support.frames import log_record
from tests.support.otlp_records import plain

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
TIMES = st.integers(1, (1 << 63) - 1)
CONTEXTS = st.builds(
    SpanContext,
    st.integers(0, (1 << 128) - 1),
    st.integers(0, (1 << 64) - 1),
    st.booleans(),
    st.integers(0, 255).map(TraceFlags),
)
ATTRIBUTES = st.dictionaries(
    TEXTS,
    st.one_of(
        TEXTS, st.booleans(), st.integers(-(1 << 63), (1 << 63) - 1), st.floats(),
        st.lists(TEXTS, max_size=3), st.lists(st.integers(0, 9), max_size=3),
    ),
    max_size=5,
)  # fmt: skip
SEVERITIES = st.sampled_from([(13, "WARN"), (17, "ERROR"), (21, "FATAL"), (1, ""), (24, "FATAL4")])


def official(
    scope: InstrumentationScope,
    time: int,
    observed: int,
    severity: tuple[int, str],
    body: str | None,
    attributes: dict[str, Any],
    context: SpanContext,
) -> bytes:
    """The scope and its record as the official encoder writes them."""
    record = LogRecord(
        timestamp=time, observed_timestamp=observed,
        context=set_span_in_context(NonRecordingSpan(context)),
        severity_text=severity[1], severity_number=SeverityNumber(severity[0]),
        body=body, attributes=attributes,
    )  # fmt: skip
    made = ReadableLogRecord(record, Resource({}), scope)
    (resource,) = encode_logs([made]).resource_logs
    (logs,) = resource.scope_logs
    return bytes(logs.SerializePartialToString())


@given(
    st.builds(InstrumentationScope, TEXTS), TIMES, TIMES, SEVERITIES, TEXTS | st.none(),
    ATTRIBUTES, CONTEXTS,
)  # fmt: skip
def test_the_same_bytes(
    scope: InstrumentationScope,
    time: int,
    observed: int,
    severity: tuple[int, str],
    body: str | None,
    attributes: dict[str, Any],
    context: SpanContext,
) -> None:
    """For any record the bytes are those of the official encoder."""
    encoded = encode_record(
        time=time, observed=observed, severity=severity[0], severity_text=severity[1], body=body,
        attributes=attributes, context=context,
    )  # fmt: skip
    expected = official(scope, time, observed, severity, body, attributes, context)
    assert encode_scope(scope) + encoded == expected


@pytest.mark.parametrize(
    ("level", "severity"),
    [
        pytest.param(30, (13, "WARN"), id="warning"),
        pytest.param(35, (13, "WARN"), id="between"),
        pytest.param(40, (17, "ERROR"), id="error"),
        pytest.param(50, (21, "FATAL"), id="critical"),
        pytest.param(99, (21, "FATAL"), id="above"),
        pytest.param(5, (13, "WARN"), id="below"),
    ],
)
def test_python_record(level: int, severity: tuple[int, str]) -> None:
    """A record of Python's becomes one frame, with its place and without what ``extra`` gave."""
    record = logging.LogRecord("shop", level, "/app.py", 7, "no %s", ("photo",), None, "show")
    record.mail = "ann@example.org"
    scope, made = log_record(Encoder(Privacy("off", b"key")).encode(record))
    assert scope == "shop"
    assert (made.severity_number, made.severity_text) == severity
    assert made.body.string_value == "no photo"
    assert plain(made.attributes) == {
        "code.file.path": "/app.py", "code.line.number": 7, "code.function.name": "show",
    }  # fmt: skip
    assert made.time_unix_nano == pytest.approx(record.created * 1e9)
    assert made.observed_time_unix_nano >= made.time_unix_nano - 1_000
    assert (made.trace_id, made.span_id, made.flags) == (b"", b"", 0)
