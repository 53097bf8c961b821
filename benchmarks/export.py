"""What sending a span costs: the official exporter against ours, the same batches in turn.

    python -m benchmarks.export [--quick] [--out FOLDER]

Processor time of the exporting thread, with the POST to a live sink in another process. ``theirs``:
the official exporter with the SDK's spans; ``ours``: our way with the spans of our requests;
``api``: with spans that others make by our provider; ``foreign``: with the SDK's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import thread_time
from typing import Any

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind

from avatar_telemetry.tracing.encoder import Block, encode_spans
from avatar_telemetry.tracing.provider import LightTracerProvider
from avatar_telemetry.tracing.sampling import make_sampling
from avatar_telemetry.tracing.span import RecordedSpan
from avatar_telemetry.tracing.writer import KeptSpans
from benchmarks.command import run_part
from benchmarks.results import say, summary
from benchmarks.sink import running_sink

# Batches, and how they are packed: the exporters pack nothing unless they are told to.
CASES = {
    "512": (512, Compression.NoCompression),
    "64": (64, Compression.NoCompression),
    "512, gzip": (512, Compression.Gzip),
}
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
VARYING = "http.response_content_length"
TRACES = "/v1/traces"


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
        attributes = ATTRIBUTES | {VARYING: count}
        tracer.start_span("GET /avatar/{digest}", kind=SpanKind.SERVER, attributes=attributes).end()


def own_provider(kept: KeptSpans) -> LightTracerProvider:
    """Make a provider of ours that keeps ended spans."""
    sampling = make_sampling("always_on", "")
    return LightTracerProvider(
        sampling, Resource.create(), SpanLimits(), kept, lambda error: {}, lambda text: text
    )


def api_spans(number: int) -> list[ReadableSpan]:
    """Ended spans that are made with the API by our provider."""
    kept = KeptSpans()
    end_spans(own_provider(kept).get_tracer(__name__), number)
    return list(kept.spans)


def request_spans(number: int) -> list[ReadableSpan]:
    """Ended spans as our requests make them."""
    kept = KeptSpans()
    tracer = own_provider(kept).get_tracer(__name__)
    known = {key: value for key, value in ATTRIBUTES.items() if key != VARYING}
    block = Block(tuple(known), tuple(known.values()))
    for count in range(number):
        span = tracer.start_span("GET /avatar/{digest}", kind=SpanKind.SERVER)
        assert isinstance(span, RecordedSpan)
        span.set_known(block, Block((VARYING,), (count,)))
        span.end()
    return list(kept.spans)


class OurExporter(OTLPSpanExporter):
    """Our encoder before the official exporter's client, which packs and posts the bytes."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch."""
        sent = self._client.export(encode_spans(spans)).success
        return SpanExportResult.SUCCESS if sent else SpanExportResult.FAILURE


Exporting = tuple[type[OTLPSpanExporter], Callable[[int], list[ReadableSpan]]]
SUBJECTS: Mapping[str, Exporting] = {
    "theirs": (OTLPSpanExporter, sdk_spans),
    "ours": (OurExporter, request_spans),
    "api": (OurExporter, api_spans),
    "foreign": (OurExporter, sdk_spans),
}


def measure(size: int, compression: Compression, rounds: int, batches: int) -> dict[str, Any]:
    """Microseconds a span in batches of one size."""
    with running_sink() as sink:
        ready = {
            name: (exporter(sink.url + TRACES, compression=compression), spans(size))
            for name, (exporter, spans) in SUBJECTS.items()
        }
        times: dict[str, list[float]] = {name: [] for name in ready}
        for _ in range(rounds):
            for name, (exporter, spans) in ready.items():
                times[name].append(timed(exporter, spans, batches) / (size * batches) * 1e6)
        expected = len(ready) * rounds * batches * size
        counts = sink.counts()
    if counts["spans"] != expected or counts["attributes"] != len(ATTRIBUTES) * expected:
        return {"failed": f"{counts} at the sink, {expected} spans were sent"}
    measured: dict[str, Any] = {
        name: {"per_span_us": summary(values)} for name, values in times.items()
    }
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
    """All cases."""
    results = {}
    for name, (size, compression) in CASES.items():
        say(f"export: batches of {name}")
        rounds, spans = (3, 2_000) if quick else (11, 10_000)
        results[name] = measure(size, compression, rounds, max(1, spans // size))
    return results


if __name__ == "__main__":
    run_part("export", run, __doc__)
