"""The benchmarks themselves: their proofs fail where work is missing, and their tables tell it."""

from __future__ import annotations

import gzip
import json
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http import Compression

from benchmarks import check, report, results
from benchmarks.command import failures
from benchmarks.export import ATTRIBUTES, SUBJECTS, TRACES
from benchmarks.in_process import Effort, in_child, proof, summed_up
from benchmarks.instructions import read_callgrind, read_names
from benchmarks.peers import Wrapped
from benchmarks.sink import Sink, decoded, of_lines, running_sink
from benchmarks.targets import TARGETS, Target
from benchmarks.variants import VARIANTS, Variant

LITTLE = Effort(processes=1, rounds=1, calls=100)
MACHINE = {
    "date": "2026-01-01", "cpu": "one", "cores": 2, "python": "3.11.7", "load_before": 0.1,
    "packages": {"gunicorn": "27.0.1"},
}  # fmt: skip


@dataclass(frozen=True)
class Full(Sink):
    """A sink that has received this."""

    received: dict[str, int]

    def counts(self) -> dict[str, int]:
        return self.received


def part(figures: dict[str, Any], python: str = "3.11.7") -> dict[str, Any]:
    return {"machine": MACHINE | {"python": python}, "quick": False, "results": figures}


def figure(median: float, around: float = 0.0) -> dict[str, float]:
    return {"median": median, "low": median - around, "high": median + around, "values": 5}


@pytest.mark.parametrize("name", ["metrics", pytest.param("otel-100", marks=pytest.mark.slow)])
def test_a_variant_is_measured_in_its_own_process(name: str) -> None:
    """What a variant adds is above nothing, and its work was proved."""
    figures = summed_up(in_child(VARIANTS[name], LITTLE))
    assert figures["added_us"]["median"] > 0
    assert figures["attributes"]["median"] == (12 if name == "otel-100" else 0)


@pytest.mark.parametrize(
    ("spans", "requests", "message"),
    [
        pytest.param(0, 11, "0 spans", id="no spans"),
        pytest.param(21, 11, "21 spans", id="a span is missing"),
        pytest.param(22, 10, "10 requests", id="a request is missing"),
        pytest.param(22, 0, "0 requests", id="no requests"),
        pytest.param(22, 11, "", id="all there"),
    ],
)
def test_a_variant_that_does_not_do_its_work_is_not_measured(
    spans: int, requests: int, message: str
) -> None:
    """Of ten requests and the one with a sampled parent, every count and span must be there."""
    variant = Variant("v", "", "ours", sample=1.0, spans=2, metrics=True)
    sink = Full("", {"spans": spans, "attributes": 0, "requests": 0})
    wrapped = Wrapped(None, requests=lambda: requests)
    with pytest.raises(SystemExit, match=message) if message else nullcontext():
        proof(variant, wrapped, 10, sink, patience=0)


def test_a_variant_that_does_not_start_is_not_measured() -> None:
    """The reason is told, and the others go on."""
    with pytest.raises(RuntimeError, match="nobody"):
        in_child(Variant("nobody", "", "nobody"), LITTLE)


@pytest.mark.filterwarnings("ignore:You should use InstrumentationScope")  # the SDK's own class
@pytest.mark.parametrize("subject", SUBJECTS)
def test_the_sink_counts_spans_and_their_attributes(subject: str) -> None:
    """What any exporter sends is counted exactly."""
    exporting, spans = SUBJECTS[subject]
    with running_sink() as sink:
        exporter = exporting(sink.url + TRACES, compression=Compression.Gzip)
        exporter.export(spans(7))
        exporter.export(spans(5))
        exporter.shutdown()
        counts = sink.counts()
    assert counts["spans"] == 12
    assert counts["attributes"] == 12 * len(ATTRIBUTES)


@pytest.mark.parametrize(
    ("body", "transactions"),
    [
        pytest.param(b'{"metadata":{}}\n{"transaction":{}}\n{"span":{}}\n', 1, id="elastic"),
        pytest.param(
            b'{"event_id":"1"}\n{"type":"transaction","length":2}\n{"type":"transaction"}', 1,
            id="sentry",
        ),
        pytest.param(b"", 0, id="nothing"),
    ],
)  # fmt: skip
def test_the_sink_counts_transactions(body: bytes, transactions: int) -> None:
    """A transaction counts once, whoever sends it and however it is packed."""
    assert of_lines(decoded(gzip.compress(body), "gzip")) == {"spans": transactions}


def test_a_summary_tells_the_middle_half() -> None:
    """One wild value changes neither the median nor its spread."""
    told = results.summary([1.0, 2.0, 3.0, 4.0, 1000.0])
    assert told == {"median": 3.0, "low": 2.0, "high": 4.0, "values": 5}


@pytest.mark.parametrize(
    ("name", "before", "after", "is_worse"),
    [
        pytest.param("added_to_bare", figure(10), figure(12), True, id="adds more"),
        pytest.param("added_to_bare", figure(10), figure(10.5), False, id="within tolerance"),
        pytest.param("added_to_bare", figure(10, 3), figure(12, 3), False, id="within the spread"),
        pytest.param("added_to_bare", figure(10), figure(5), False, id="adds less"),
        pytest.param("throughput", figure(0.9), figure(0.8), True, id="serves less"),
        pytest.param("throughput", figure(0.9), figure(0.95), False, id="serves more"),
        pytest.param("per_request", 1000, 1100, True, id="more instructions"),
    ],
)
def test_the_check_finds_what_got_worse(name: str, before: Any, after: Any, is_worse: bool) -> None:
    """A figure is worse beyond its tolerance and spread, in the direction that counts."""
    kept, new = ({"metrics": {name: value}, "otel-0": {name: value}} for value in (before, after))
    found = check.worse(part(kept), part(new))
    assert [change.figure for change in found] == ([f"metrics/{name}"] if is_worse else [])


def test_instructions_of_two_pythons_are_not_compared() -> None:
    """Another interpreter has other instructions."""
    kept, new = part({"metrics": {"per_request": 1}}), part({"metrics": {"per_request": 9}}, "3.12")
    assert check.worse(kept, new) == []


def test_the_check_tells_what_is_missing() -> None:
    """A variant that failed in the new run is not passed over."""
    kept = part({"metrics": {"added_to_bare": figure(1)}})
    assert check.missing(kept, part({"metrics": {"failed": "no"}})) == ["metrics/added_to_bare"]


@pytest.mark.parametrize(
    ("target", "told"),
    [
        pytest.param(Target("x", "p/a", 5), "| x | <= 5 | 4.0 | met |", id="met"),
        pytest.param(Target("x", "p/a", 3, reason="why"), "**not met**: why", id="reason"),
        pytest.param(Target("x", "p/a", 3, at_least=True), "| >= 3 | 4.0 | met |", id="at least"),
        pytest.param(Target("x", "p/a", 0.6, over="p/b/c"), "| 0.500 | met |", id="share"),
        pytest.param(Target("x", "p/none/at/all", 1), "| not measured |", id="not measured"),
    ],
)
def test_a_target_stands_beside_its_figure(
    target: Target, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Met, not met with the reason, or not measured."""
    monkeypatch.setattr(report, "TARGETS", (target,))
    assert told in report.of_targets({"p": part({"a": figure(4), "b": {"c": 8}})})


def test_the_tables_are_those_of_the_results_kept() -> None:
    """The page in the repository shows what the JSON in the repository says."""
    kept = results.read(results.FOLDER)
    page = report.DOCUMENT.read_text(encoding="utf-8")
    assert report.rewritten(page, report.figures_of(kept)) == page


def test_a_part_is_kept_with_its_machine(tmp_path: Path) -> None:
    """What is written is read again."""
    results.write("p", {"a": figure(1)}, tmp_path, quick=True)
    kept = results.read(tmp_path)["p"]
    assert (kept["results"], kept["quick"]) == ({"a": figure(1)}, True)
    assert json.dumps(kept["machine"]["packages"]).count("not installed") < len(results.PACKAGES)


def test_failures_are_found_at_any_depth() -> None:
    """A command ends with an error that names what was not measured."""
    assert failures({"a": {"b": {"failed": "x"}}, "c": figure(1)}) == ["a/b: x"]


def test_the_functions_of_a_callgrind_file(tmp_path: Path) -> None:
    """Instructions and calls are summed over callers; only functions of ours have a name."""
    text = "\n".join(
        [
            "fn=(1) main", "10 5", "cfn=(2) 0x00000000000000a0", "calls=2 0x0", "10 300",
            "fn=(3) loop'2", "cfn=(2)", "calls=1 0x0", "11 100", "totals: 405",
        ]
    )  # fmt: skip
    names = tmp_path / "perf.map"
    names.write_text(
        "a0 b py::Layer.begin:/x/avatar_telemetry/wsgi/middleware.py\nb0 b py::f:/x/other.py\n"
    )
    total, instructions, calls = read_callgrind(text)
    assert (total, instructions[0xA0], calls[0xA0]) == (405, 400, 3)
    assert read_names(names) == {0xA0: "middleware.Layer.begin"}


def test_every_target_names_a_part_that_is_measured() -> None:
    """A target cannot point to nowhere."""
    parts = {part for part, _, _ in report.SECTIONS}
    assert {target.figure.partition("/")[0] for target in TARGETS} <= parts
