"""The measured variants: our layer in its modes, and the peers, each with its variables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.sink import Sink

# The allocator grows, trims and makes arenas by chance, which can slow a run by a third; with fixed
# thresholds two runs are comparable.
MALLOC = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": "67108864",
    "MALLOC_TRIM_THRESHOLD_": "268435456",
    "MALLOC_TOP_PAD_": "16777216",
}
DATADOG = {
    "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
    "DD_REMOTE_CONFIGURATION_ENABLED": "false",
    "DD_CRASHTRACKING_ENABLED": "false",
    "DD_RUNTIME_METRICS_ENABLED": "false",
    "DD_TRACE_STARTUP_LOGS": "false",
}
# As under gunicorn; without its hooks the default is a thread.
PROCESS = {"AVATAR_TELEMETRY_EXPORTER": "process"}
SINK = "{sink}"
RULES = "errors, slow:1000s, auth_failures"
"""Rules of tail sampling that no request of the benchmarks matches."""


@dataclass(frozen=True)
class Variant:
    """One way to run an application.

    Args:
        name: in results and on the command line.
        title: in the tables.
        module: of ``benchmarks.peers``.
        environ: variables; ``{sink}`` stands for the address of its sink.
        sample: share of the requests that are traced.
        spans: made by one traced request.
        against: the variant that it is compared with.
        burst: requests made before its queue must be emptied.
        metrics: whether it counts requests.
        hooks: whether gunicorn needs our hooks.
    """

    name: str
    title: str
    module: str
    environ: Mapping[str, str] = field(default_factory=dict)
    sample: float = 0.0
    spans: int = 0
    against: str = "bare"
    burst: int = 500
    metrics: bool = False
    hooks: bool = False

    def environment(self, sink: Sink, *, pinned: bool = True) -> dict[str, str]:
        """The variables with the address of a sink filled in, and those of the allocator."""
        own = {name: text.replace(SINK, sink.url) for name, text in self.environ.items()}
        return (
            (MALLOC if pinned else {})
            | {"BENCH_SINK": sink.url, "BENCH_SAMPLE": str(self.sample)}
            | own
        )


def _ours(name: str, title: str, sample: float, keep: str = "") -> Variant:
    environ = PROCESS | {
        "OTEL_EXPORT_ENABLED": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": SINK,
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "AVATAR_TELEMETRY_TRUST_INCOMING": "continue",
        "OTEL_TRACES_SAMPLER_ARG": str(1.0 if keep else sample),
        "AVATAR_TELEMETRY_KEEP": keep,
    }
    return Variant(name, title, "ours", environ, sample, 2, metrics=True, hooks=True)


def _metrics(name: str, title: str, routes: int = 0) -> Variant:
    environ = PROCESS | {"BENCH_ROUTES": str(routes), "AVATAR_TELEMETRY_MAX_SERIES": "100000"}
    return Variant(name, title, "ours", environ, metrics=True, hooks=True)


def _otel(name: str, title: str, sample: float) -> Variant:
    return Variant(name, title, "otel_wsgi", {}, sample, 1, metrics=True)


def _datadog(name: str, title: str, sample: float) -> Variant:
    rules = json.dumps([{"sample_rate": sample}])
    environ = DATADOG | {"DD_TRACE_AGENT_URL": SINK, "DD_TRACE_SAMPLING_RULES": rules}
    return Variant(name, title, "ddtrace", environ, 1.0, 1)


_ALL = (
    Variant("bare", "bare", "bare"),
    _metrics("metrics", "ours, metrics only"),
    _metrics("many", "ours, metrics only, 11,000 samples on the page", 320),
    _metrics("series", "ours, metrics only, 1,200 samples of each worker", 33),
    _ours("spans-0", "ours, 2 spans, none sampled", 0.0),
    _ours("spans-5", "ours, 2 spans, 5 % sampled", 0.05),
    _ours("spans-100", "ours, 2 spans, all sampled", 1.0),
    _ours("kept", "ours, 2 spans, all recorded and kept by rule", 1.0, f"{RULES}, ratio:1"),
    _ours("dropped", "ours, 2 spans, all recorded, none kept", 0.0, RULES),
    _otel("otel-0", "OpenTelemetry WSGI, none sampled", 0.0),
    _otel("otel-100", "OpenTelemetry WSGI, all sampled (1 span)", 1.0),
    Variant("django", "Django, bare", "django_bare"),
    Variant(
        "django-prometheus", "django-prometheus (over bare Django)", "django_prometheus",
        against="django", metrics=True,
    ),
    _datadog("ddtrace-100", "ddtrace, all sampled", 1.0),
    Variant("sentry-100", "Sentry, all sampled", "sentry", {}, 1.0, 1, burst=50),
)  # fmt: skip
VARIANTS: Mapping[str, Variant] = {variant.name: variant for variant in _ALL}
