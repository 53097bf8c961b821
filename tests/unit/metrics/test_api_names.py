"""Names and labels of OpenTelemetry metrics on the page."""

from __future__ import annotations

from typing import Any

import pytest

from avatar_telemetry.metrics.api_names import Type, label_values, metric_name


@pytest.mark.parametrize(
    ("name", "unit", "type_", "expected"),
    [
        pytest.param("http.server.duration", "s", "histogram", "http_server_duration_seconds",
                     id="unit"),
        pytest.param("my.size", "By", "gauge", "my_size_bytes", id="case of the unit"),
        pytest.param("my.size", "KiBy", "gauge", "my_size_kibibytes", id="prefixed unit"),
        pytest.param("my.jobs", "{job}", "counter", "my_jobs", id="annotation"),
        pytest.param("my.size", "{raw}By", "gauge", "my_size_bytes", id="annotated unit"),
        pytest.param("my.flow", "By/s", "gauge", "my_flow_bytes_per_second", id="rate"),
        pytest.param("my.flow", "{job}/min", "gauge", "my_flow_per_min", id="annotated rate"),
        pytest.param("my.flow", "1/m", "gauge", "my_flow_per_minute", id="rate of nothing"),
        pytest.param("my.flow", "By/", "gauge", "my_flow_bytes", id="rate per nothing"),
        pytest.param("my.load", "1", "gauge", "my_load_ratio", id="ratio"),
        pytest.param("my.load.ratio", "1", "gauge", "my_load_ratio", id="no second ratio"),
        pytest.param("my.load", "1", "updowncounter", "my_load", id="only of gauges"),
        pytest.param("my.calls", "1", "counter", "my_calls", id="not of counters"),
        pytest.param("my.calls.total", "", "counter", "my_calls", id="no second total"),
        pytest.param("total", "", "counter", "total", id="total alone"),
        pytest.param("my.time.total", "s", "counter", "my_time_seconds", id="total behind unit"),
        pytest.param("my.total", "", "gauge", "my_total", id="total of a gauge"),
        pytest.param("time.seconds", "s", "histogram", "time_seconds", id="no second unit"),
        pytest.param("seconds.left", "s", "gauge", "seconds_left", id="unit in the middle"),
        pytest.param("my.milliseconds2", "ms", "gauge", "my_milliseconds2_milliseconds",
                     id="part of a word"),
        pytest.param("flow.bytes", "By/s", "gauge", "flow_bytes_per_second", id="half of a rate"),
        pytest.param("a-b/c__d.e", "", "gauge", "a_b_c_d_e", id="other characters"),
        pytest.param("a:b", "", "gauge", "a:b", id="colon"),
        pytest.param("x", "my unit!/a b", "gauge", "x_my_unit_per_a_b", id="unknown unit"),
        pytest.param("x", "%", "gauge", "x_percent", id="percent"),
        pytest.param("x", "°", "gauge", "x", id="no ASCII"),
    ],
)  # fmt: skip
def test_name_of_a_metric(name: str, unit: str, type_: Type, expected: str) -> None:
    """A name gets its unit in words, once, and keeps no illegal character."""
    assert metric_name(name, unit, type_) == expected


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        pytest.param({"http.route": "/a"}, {"http_route": "/a"}, id="dots"),
        pytest.param({"a..b__c": "x"}, {"a_b_c": "x"}, id="no doubled underscore"),
        pytest.param({"a_b": "2", "a.b": "1", "a-b": "0"}, {"a_b": "0;1;2"}, id="collision"),
        pytest.param({"1a": "x"}, {"_1a": "x"}, id="digit"),
        pytest.param({"": "x"}, {"_": "x"}, id="no name"),
        pytest.param({3: "x"}, {"_3": "x"}, id="name that is no text"),
        pytest.param({"a": "", "b": None}, {}, id="empty"),
        pytest.param({"a": True, "b": False}, {"a": "true", "b": "false"}, id="boolean"),
        pytest.param({"a": 200, "b": 1.5}, {"a": "200", "b": "1.5"}, id="number"),
        pytest.param(
            {"a": float("nan"), "b": float("inf"), "c": float("-inf")},
            {"a": "NaN", "b": "Infinity", "c": "-Infinity"},
            id="special number",
        ),
        pytest.param({"a": [1, "x", None, True]}, {"a": '[1,"x",null,true]'}, id="list"),
        pytest.param({"a": {"k": ("ü",)}}, {"a": '{"k":["ü"]}'}, id="mapping"),
        pytest.param({"a": b"ab", "b": [b"ab"]}, {"a": "YWI=", "b": '["YWI="]'}, id="bytes"),
        pytest.param({"a": "x\ud800"}, {"a": "x?"}, id="surrogate"),
        pytest.param({"a": 1j}, {"a": "1j"}, id="something else"),
    ],
)
def test_labels_of_attributes(attributes: dict[Any, Any], expected: dict[str, str]) -> None:
    """Attributes become labels that every Prometheus reads."""
    assert label_values(attributes) == expected
