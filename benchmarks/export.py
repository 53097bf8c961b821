"""What sending a span costs: the official exporter against ours, the same batches in turn.

    python -m benchmarks.export [--quick] [--out FOLDER]

Processor time of the exporting thread, with the POST to a live sink in another process. ``theirs``:
the official exporter with the SDK's spans; ``ours``: our exporter with our spans; ``foreign``: our
exporter with the SDK's, as another tracer provider makes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from time import thread_time
from typing import Any

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind

from benchmarks.command import run_part
from benchmarks.results import say, summary
from benchmarks.sink import Sink, running_sink

SIZES = (512, 64)
# What a server span carries.
ATTRIBUTES: dict[str, Any] = {
    "http.method": "GET",
    "http.url": "http://seccdn.example.org/avatar/{digest}?s=80&d=identicon",
    "http.route": "/avatar/{digest}",
    "http.scheme": "http",
    "http.host": "seccdn.example.org",
    "http.target": "/avatar/{digest}",
    "http.flavor": "1.1",
    "http.user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "http.remote_addr": "192.0.2.0",
    "http.status_code": 200,
    "http.response_content_length": 1234,
    "ivatar.request_type": "avatar",
    "ivatar.avatar_size": 80,
    "ivatar.avatar_format": "png",
}


class Kept(SpanExporter):
    """Keeps the spans that end."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Keep them."""
        self.spans += spans
        return SpanExportResult.SUCCESS


def sdk_spans(number: int) -> list[ReadableSpan]:
    """Ended spans of the official SDK."""
    kept = Kept()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    end_spans(provider.get_tracer(__name__), number)
    return kept.spans


def end_spans(tracer: Any, number: int) -> None:
    """Start and end so many spans."""
    for count in range(number):
        attributes = ATTRIBUTES | {"http.response_content_length": count}
        tracer.start_span("GET /avatar/{digest}", kind=SpanKind.SERVER, attributes=attributes).end()


def official(sink: Sink, compression: Compression) -> SpanExporter:
    """The exporter of ``opentelemetry-exporter-otlp-proto-http``."""
    return OTLPSpanExporter(sink.url + "/v1/traces", compression=compression)


Exporting = tuple[Callable[[Sink, Compression], SpanExporter], Callable[[int], list[ReadableSpan]]]


def subjects() -> dict[str, Exporting | str]:
    """What is measured: an exporter and its spans; text says why one cannot be."""
    found: dict[str, Exporting | str] = {"theirs": (official, sdk_spans)}
    try:
        own = import_module("benchmarks.own_export")
    except ImportError as error:
        return found | {"ours": str(error), "foreign": str(error)}
    return found | {"ours": (own.exporter, own.spans), "foreign": (own.exporter, sdk_spans)}


def measure(size: int, rounds: int, batches: int) -> dict[str, Any]:
    """Microseconds a span in batches of one size."""
    measured: dict[str, Any] = {}
    ready: dict[str, tuple[SpanExporter, list[ReadableSpan]]] = {}
    with running_sink() as sink:
        for name, subject in subjects().items():
            if isinstance(subject, str):
                measured[name] = {"failed": subject}
            else:
                make, make_spans = subject
                ready[name] = (make(sink, Compression.Gzip), make_spans(size))
        times: dict[str, list[float]] = {name: [] for name in ready}
        for _ in range(rounds):
            for name, (exporter, spans) in ready.items():
                times[name].append(timed(exporter, spans, batches) / (size * batches) * 1e6)
        expected = len(ready) * rounds * batches * size
        counts = sink.counts()
    if counts["spans"] != expected or counts["attributes"] != len(ATTRIBUTES) * expected:
        return {"failed": f"{counts} at the sink, {expected} spans were sent"}
    measured |= {name: {"per_span_us": summary(values)} for name, values in times.items()}
    for name in ready.keys() - {"theirs"}:
        pairs = zip(times["theirs"], times[name], strict=True)
        measured[name]["times_cheaper"] = summary(theirs / own for theirs, own in pairs)
    return measured


def timed(exporter: SpanExporter, spans: Sequence[ReadableSpan], batches: int) -> float:
    """Seconds of processor time to export a batch so many times."""
    started = thread_time()
    for _ in range(batches):
        if exporter.export(spans) is not SpanExportResult.SUCCESS:
            raise SystemExit("the sink did not take a batch")
    return thread_time() - started


def run(quick: bool) -> dict[str, Any]:
    """Both sizes of batches."""
    results = {}
    for size in SIZES:
        say(f"export: batches of {size}")
        rounds, spans = (3, 2_000) if quick else (11, 10_000)
        results[str(size)] = measure(size, rounds, max(1, spans // size))
    return results


if __name__ == "__main__":
    run_part("export", run, __doc__)
