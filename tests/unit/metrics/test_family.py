"""Families: the names, labels and line prefixes of their samples."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.exposition import generate_latest
from prometheus_client.utils import floatToGoString

from avatar_telemetry.metrics.family import Family, family, format_bound, line_prefix


@pytest.mark.parametrize(
    ("type_", "sample"), [("counter", "m_total"), ("info", "m_info"), ("gauge", "m")]
)
def test_the_suffix_follows_from_the_type(type_: str, sample: str) -> None:
    """A family has the bare name, its samples the name as it stands on the page."""
    made = family("m", type_, "help", [((("a", "b"),), 1.0), ((), 2.0)])
    assert (made.name, made.type, made.documentation) == ("m", type_, "help")
    assert list(made.names) == [sample, sample]
    assert list(made.labels) == [(("a", "b"),), ()]
    assert list(made.values) == [1.0, 2.0]
    assert list(made.prefixes) == [f'{sample}{{a="b"}} ', f"{sample} "]


@pytest.mark.parametrize("value", ["plain", 'a"b', "a\\b", "a\nb", '\\"\n', "ünï", "\\n", ""])
def test_labels_are_escaped_as_prometheus_client_does(value: str) -> None:
    """The line of a sample begins the same in both."""
    registry = CollectorRegistry()
    Gauge("m", "help", ["a", "b"], registry=registry).labels(value, "x").set(1)
    line = line_prefix("m", (("a", value), ("b", "x"))) + "1.0"
    assert line in generate_latest(registry).decode().replace("\r", "").split("\n")


@pytest.mark.parametrize(
    ("bound", "text"),
    [(1.0, "1.0"), (0.005, "0.005"), (1e6, "1e+06"), (float("inf"), "+Inf"), (1024.0, "1024.0")],
)
def test_bounds_are_written_as_prometheus_does(bound: float, text: str) -> None:
    """The text of the le label, which queries compare as text."""
    assert format_bound(bound) == text


@given(st.floats(0, 9e9) | st.integers(0, 9 * 10**9).map(float))
def test_bounds_are_written_as_prometheus_client_does(bound: float) -> None:
    """The files are read by its own tools, too. Its older releases write 1e+010."""
    assert format_bound(bound) == floatToGoString(bound)


def test_a_family_of_samples_keeps_their_order() -> None:
    """Samples may have several suffixes, as those of a summary."""
    made = Family.of("s", "summary", "help", [("s_count", (), 2.0), ("s_sum", (), 3.5)])
    assert list(zip(made.names, made.values, strict=True)) == [("s_count", 2.0), ("s_sum", 3.5)]
    assert list(made.prefixes) == ["s_count ", "s_sum "]
