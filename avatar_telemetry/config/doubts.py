"""What stands in the environment, is allowed, and is hardly meant: others read variables, too.

The start of a server warns of it, and the doctor finds it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from avatar_telemetry.config.parsing import opt_ins
from avatar_telemetry.config.settings import SETTINGS, variables
from avatar_telemetry.config.variable import SHOWN_VALUE, raw_text

# A misspelt variable differs by a letter or two; what differs by more is somebody else's.
MISSPELT = 0.9
_HEADERS = "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_"
NEIGHBOURS = frozenset(
    {"OTEL_PYTHON_ASGI_EXCLUDED_URLS", _HEADERS + "CLIENT_REQUEST", _HEADERS + "CLIENT_RESPONSE"}
)
"""Variables of other instrumentations that differ by as little from one of ours."""
UNUSED: Mapping[str, str] = {
    **dict.fromkeys(
        ("OTEL_CONFIG_FILE", "OTEL_EXPERIMENTAL_CONFIG_FILE"),
        "Set the variables instead: no configuration file is read.",
    ),
    "OTEL_LOG_LEVEL": "Set the level of Python's logger avatar_telemetry.",
    **dict.fromkeys(
        ("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT"),
        "A log record has a handful of attributes, and its text is bounded.",
    ),
    **dict.fromkeys(
        ("OTEL_EXPORTER_ZIPKIN_ENDPOINT", "OTEL_EXPORTER_ZIPKIN_TIMEOUT"),
        "Send OTLP to a collector, which can export to Zipkin.",
    ),
    "OTEL_METRICS_EXEMPLAR_FILTER": "Metrics of the OpenTelemetry API have no exemplars.",
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": (
        "Histograms have explicit buckets: advise boundaries where the histogram is created."
    ),
    "OTEL_PYTHON_ID_GENERATOR": "Trace ids are random.",
    "OTEL_PYTHON_DJANGO_EXCLUDED_URLS": "Set OTEL_PYTHON_WSGI_EXCLUDED_URLS.",
    **dict.fromkeys(
        ("OTEL_PYTHON_LOG_CORRELATION", "OTEL_PYTHON_LOG_FORMAT", "OTEL_PYTHON_LOG_LEVEL"),
        "Log records always have the trace; name its fields in your own format (docs/logging.md).",
    ),
    **dict.fromkeys(
        (
            "OTEL_PYTHON_TRACER_CONFIGURATOR", "OTEL_PYTHON_METER_CONFIGURATOR",
            "OTEL_PYTHON_LOGGER_CONFIGURATOR", "OTEL_PYTHON_DISTRO", "OTEL_PYTHON_CONFIGURATOR",
            "OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED",
            "OTEL_PYTHON_AUTO_INSTRUMENTATION_EXPERIMENTAL_GEVENT_PATCH",
        ),
        "It is for the command opentelemetry-instrument, which this package does without.",
    ),
}  # fmt: skip
"""Variables of OpenTelemetry that mean nothing here, and the advice about each."""
DEFAULTS = {
    "OTEL_METRICS_EXEMPLAR_FILTER": "always_off",
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": "explicit_bucket_histogram",
    "OTEL_PYTHON_ID_GENERATOR": "random",
}
"""Values of unused variables that ask for what happens anyway."""
OPT_INS = frozenset(
    {"gen_ai_latest_experimental", "gen_ai_tool_definitions"}.union(
        *(
            {area, f"{area}/dup"}
            for area in ("http", "code", "database", "k8s", "messaging", "rpc", "service.peer")
        )
    )
)
"""What instrumentations take in ``OTEL_SEMCONV_STABILITY_OPT_IN`` (semantic conventions,
migration guides)."""


class Doubt(NamedTuple):
    """Something that is hardly meant.

    Args:
        check: the name of the doctor's finding.
        message: what was seen.
        advice: what to do.
    """

    check: str
    message: str
    advice: str


def doubts(environ: Mapping[str, str]) -> Iterator[Doubt]:
    """Everything that was perhaps misspelt where no other name or word is forbidden."""
    yield from _variables(environ)
    yield from _opt_ins(environ)
    yield from _unused(environ)


def _variables(environ: Mapping[str, str]) -> Iterator[Doubt]:
    ours = {name for each in variables() for name in (each.variable, each.alias) if name}
    strange = [
        name
        for name in sorted(environ.keys() - ours - NEIGHBOURS)
        if name.startswith(("OTEL_", "IVATAR_", "PROMETHEUS_"))
    ]
    known = ours | UNUSED.keys() | _of_opentelemetry() if strange else ours
    for name in (name for name in strange if name not in known):
        near = difflib.get_close_matches(name, known, n=1, cutoff=MISSPELT)
        if near:
            yield Doubt("settings.misspelt", f"{name} is read by nobody", f"Is {near[0]} meant?")


def _of_opentelemetry() -> set[str]:
    """The variables of the API and of the SDK, which has some behind an underscore."""
    # Not at the top: where nothing is sent nothing of the SDK is imported.
    from opentelemetry import environment_variables as api
    from opentelemetry.sdk import environment_variables as sdk

    return {name.lstrip("_") for each in (api, sdk) for name in vars(each)}


def _opt_ins(environ: Mapping[str, str]) -> Iterator[Doubt]:
    setting = SETTINGS["semconv"]
    for word in sorted(opt_ins(raw_text(environ, setting)) - OPT_INS):
        near = difflib.get_close_matches(word, OPT_INS, n=1)
        advice = f"Is {near[0]} meant?" if near else f"Here it may be {setting.allowed}."
        yield Doubt(
            "settings.opt_in", f"{setting.variable}: {word[:SHOWN_VALUE]!r} means nothing", advice
        )


def _unused(environ: Mapping[str, str]) -> Iterator[Doubt]:
    for name in sorted(environ.keys() & UNUSED.keys()):
        if environ[name] and environ[name].strip().lower() != DEFAULTS.get(name):
            yield Doubt("settings.unused", f"{name} is known and not used", UNUSED[name])
    exporter = SETTINGS["metrics_exporters"]
    if "prometheus" not in raw_text(environ, exporter).lower():
        for name in ("prometheus_host", "prometheus_port"):
            variable = SETTINGS[name].variable
            if environ.get(variable):
                advice = f"Set {exporter.variable}=prometheus, or OTEL_PROMETHEUS_ENDPOINT."
                yield Doubt("settings.unused", f"{variable} is set and not used", advice)
