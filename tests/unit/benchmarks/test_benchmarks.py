"""The benchmarks themselves: their proofs fail where work is missing, and their tables tell it."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import urllib.request
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider

from benchmarks import caches, report, results, vegeta
from benchmarks.command import failures
from benchmarks.in_process import Effort, in_child, proof, summed_up
from benchmarks.instructions import instructions_of
from benchmarks.latency import of_recycles, of_turns
from benchmarks.peers import Wrapped
from benchmarks.processes import exporter_of, processor_seconds, pss_mb
from benchmarks.serving import Server, exported_share
from benchmarks.sink import Sink, decoded, of_lines, running_sink
from benchmarks.targets import TARGETS, Figure, Target
from benchmarks.variants import VARIANTS, Variant
from tests.support.waiting import DEADLINE

LITTLE = Effort(processes=1, rounds=1, calls=100)
MACHINE = {
    "date": "2026-01-01", "cpu": "one", "cores": 2, "python": "3.11.7", "load_before": 0.1,
    "packages": {"gunicorn": "27.0.1"},
}  # fmt: skip


@dataclass(frozen=True)
class Full(Sink):
    """A sink that has received this."""

    received: dict[str, int]

    def counts(self, path: str = "/") -> dict[str, int]:
        return self.received


def part(figures: dict[str, Any], python: str = "3.11.7") -> dict[str, Any]:
    return {"machine": MACHINE | {"python": python}, "quick": False, "results": figures}


def figure(median: float, around: float = 0.0) -> dict[str, float]:
    return {"median": median, "low": median - around, "high": median + around, "values": 5}


@pytest.mark.parametrize("name", ["metrics", pytest.param("otel-100", marks=pytest.mark.slow)])
def test_a_variant_is_measured_in_its_own_process(name: str) -> None:
    """Each round gives a figure, and the work was proved."""
    figures = summed_up(in_child(VARIANTS[name], LITTLE), name)
    assert figures["added_us"]["values"] == LITTLE.rounds
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


def sdk_spans(number: int) -> list[ReadableSpan]:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer(__name__)
    spans = [tracer.start_span("x", attributes={"a": 1, "b": "2"}) for _ in range(number)]
    for span in spans:
        span.end()
    return [span for span in spans if isinstance(span, ReadableSpan)]


def test_the_sink_counts_each_span_once() -> None:
    """A span that came twice counts once; while the sink is down it takes nothing."""
    spans = sdk_spans(7)
    with running_sink() as sink:
        url = f"{sink.url}/v1/traces"
        exporter = OTLPSpanExporter(url, compression=Compression.Gzip, timeout=DEADLINE)
        exporter.export(spans)
        exporter.export(spans[:5])
        counts = sink.counts("/down")
        with pytest.raises(OSError):
            urllib.request.urlopen(url, b"no spans", timeout=DEADLINE)
        down = sink.counts("/up")
        exporter.export(sdk_spans(1))
        up = sink.counts()
        exporter.shutdown()
    assert (counts["spans"], counts["attributes"]) == (7, 24)
    assert (down["spans"], up["spans"]) == (7, 8)


@pytest.mark.parametrize(
    ("body", "transactions"),
    [
        pytest.param(
            b'{"event_id":"1"}\n{"type":"transaction","length":2}\n{"type":"transaction"}', 1,
            id="sentry",
        ),
        pytest.param(b"", 0, id="nothing"),
    ],
)  # fmt: skip
def test_the_sink_counts_transactions(body: bytes, transactions: int) -> None:
    """A transaction counts once, however it is packed."""
    assert of_lines(decoded(gzip.compress(body), "gzip")) == transactions


@pytest.mark.parametrize(
    ("arrived", "measured"),
    [
        pytest.param(30, 1.0, id="all"),
        pytest.param(20, "20 spans at the sink, 30 expected", id="those of Pillow are missing"),
    ],
)
def test_spans_of_probes_are_expected(arrived: int, measured: object) -> None:
    """A sampled request of the identicon has three spans, one of them Pillow's."""
    sink = Full("", {"spans": arrived})
    server = Server(VARIANTS["spans-100"], "identicon", "", 0, sink, Path(), answered=10)
    assert exported_share(server) == measured


def test_a_summary_tells_the_middle_half() -> None:
    """One wild value changes neither the median nor its spread."""
    told = results.summary([1.0, 2.0, 3.0, 4.0, 1000.0])
    assert told == {"median": 3.0, "low": 2.0, "high": 4.0, "values": 5}


@pytest.mark.parametrize(
    ("figure", "told"),
    [
        pytest.param(Figure("p/a", 5), "| <= 5 | 4.0 | met |", id="met"),
        pytest.param(Figure("p/a", 3), "| <= 3 | 4.0 | **not met**: why |", id="not met"),
        pytest.param(Figure("p/a", 3, at_least=True), "| >= 3 | 4.0 | met |", id="at least"),
        pytest.param(
            Figure("p/a", 3, instead=Figure("p/b/c", 8)), "| 4.0 | met |", id="another is enough"
        ),
        pytest.param(Figure("p/none/at/all", 1), "| - | **not measured** |", id="not measured"),
        pytest.param(Figure("none/a", 1), "| - | to be measured |", id="no such part yet"),
        pytest.param(Figure("old/a", 5), "| - | to be measured |", id="of an older version"),
    ],
)
def test_a_target_stands_beside_its_figure(
    figure: Figure, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Met, not met with the reason, or not measured."""
    monkeypatch.setattr(report, "TARGETS", (Target("x", "7", (figure,), reason="why"),))
    measured = part({"a": {"median": 4}, "b": {"c": 8}})
    kept = {"p": measured, "old": measured | {"old": "Of an older version."}}
    assert told in report.of_targets(kept)


def test_the_pages_are_those_of_the_results_kept() -> None:
    """Tables and picture in the repository show what the JSON in the repository says."""
    kept = results.read(results.FOLDER)
    for path, text in report.files(kept, report.DOCS).items():
        assert path.read_text(encoding="utf-8") == text


def test_a_picture_has_a_bar_of_each_variant() -> None:
    """A bar is as long as its share; a variant that is not measured has none."""
    kept = {"server": part({"sync-trivial": {"metrics": {"throughput": {"median": 0.5}}}})}
    drawn = report.picture(kept)
    bars = [line for line in drawn.splitlines() if line.startswith(f'<rect x="{report.LABELS}"')]
    widths = [float(line.partition('width="')[2].partition('"')[0]) for line in bars]
    assert len(widths) == 2
    assert widths[0] == 2 * widths[1]


def test_a_part_is_kept_with_its_machine(tmp_path: Path) -> None:
    """A written part is read again."""
    results.write("p", {"a": figure(1)}, tmp_path, quick=True)
    kept = results.read(tmp_path)["p"]
    assert (kept["results"], kept["quick"]) == ({"a": figure(1)}, True)
    assert json.dumps(kept["machine"]["packages"]).count("not installed") < len(results.PACKAGES)


def test_failures_are_found_at_any_depth() -> None:
    """A command ends with an error that names what was not measured."""
    assert failures({"a": {"b": {"failed": "x"}}, "c": figure(1)}) == ["a/b: x"]


def test_the_sum_of_a_callgrind_file() -> None:
    """A file without a sum is no measurement."""
    assert instructions_of("fn=(1) main\n10 5\ntotals: 405\n") == 405
    with pytest.raises(RuntimeError):
        instructions_of("fn=(1) main\n")


def test_latencies_are_compared_in_the_same_turn() -> None:
    """The ratio of a turn is against the bare server of that turn."""
    turns = [
        {
            name: {"saturation": 1.0} | dict.fromkeys(
                ("own_p90", "own_p99", "same_p90", "same_p99"), seconds * factor
            )
            for name, factor in (("bare", 1), ("spans-100", 2))
        }
        for seconds in (0.001, 0.1)
    ]  # fmt: skip
    assert of_turns(turns)["spans-100"]["own_p90"] == figure(2.0) | {"values": 2}


def test_waits_at_a_recycle() -> None:
    """The longest wait is a share of the bare server's, and so many milliseconds more."""
    turn = {name: {"longest": 0.02} for name in ("bare", "metrics")}
    told = of_recycles([turn | {"spans-100": {"longest": 0.03}}])["spans-100"]
    assert (told["longest"]["median"], told["longest_added_ms"]["median"]) == (1.5, 10.0)


def test_a_program_is_built_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without Go the run ends with a message; a program that was built is used as it is."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="cannot be built"):
        vegeta.program()
    built = tmp_path / "avatar-telemetry-benchmarks" / f"vegeta-{vegeta.VERSION}" / "vegeta"
    built.parent.mkdir(parents=True)
    built.touch()
    assert vegeta.program() == built


def test_too_many_failed_requests_are_no_measurement() -> None:
    """The report of a load whose requests failed raises."""
    for success, raised in ((1.0, nullcontext()), (0.9, pytest.raises(RuntimeError))):
        times = {"90th": 1e6, "99th": 2e6, "max": 3e6}
        report = {
            "success": success, "status_codes": {"200": 9}, "errors": [], "latencies": times,
            "throughput": 4.5,
        }  # fmt: skip
        load = subprocess.Popen(["echo", json.dumps(report)], stdout=subprocess.PIPE, text=True)
        with raised:
            assert vegeta.finish(load) == vegeta.Latencies(0.001, 0.002, 0.003, 9, 4.5)


def test_an_exporter_is_found_by_its_folder(tmp_path: Path) -> None:
    """A process whose command line has the word and the folder is the exporter of that folder."""
    command = [sys.executable, "-c", "print(); input()", "exporter", str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(1)  # a process has no command line until it runs its program
        assert exporter_of(tmp_path) == process.pid
        assert exporter_of(tmp_path / "other") is None
        assert pss_mb(process.pid) > 0
        assert processor_seconds(process.pid) > 0
        process.kill()


def test_shares_of_lookups() -> None:
    """The first request of a person, an address and a query computes what the others find."""
    found = caches.shares(caches.Traffic(people=1, clients=1, sites=1, pictures=2, requests=8))
    for cache in ("route of the path", "target", "address", "person", "response size"):
        assert found[cache] == 1 - 1 / 8
    assert found["outcome"] in (1 - 1 / 8, 1 - 2 / 8)  # a hit in the application's cache, a miss


def test_every_target_names_a_part_that_is_measured() -> None:
    """A target cannot point to nowhere."""
    parts = {part for part, _, _ in report.SECTIONS}
    named = {figure.path.partition("/")[0] for target in TARGETS for figure in target.figures}
    assert named <= parts
    assert all(target.reason for target in TARGETS)
