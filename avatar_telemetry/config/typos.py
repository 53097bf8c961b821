"""Detect probable typos, and unused variables, in the environment.

They are no errors, because other programs read variables, too: a server logs a warning at its
start, and the doctor reports them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from avatar_telemetry.config.parsing import opt_ins
from avatar_telemetry.config.settings import SETTINGS, variables
from avatar_telemetry.config.variable import MAX_SHOWN_LENGTH, raw_text

# A typo changes a letter or two; a name that differs more belongs to another program.
MIN_SIMILARITY = 0.9
_HEADERS = "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_"
SIMILAR_NAMES = frozenset(
    {"OTEL_PYTHON_ASGI_EXCLUDED_URLS", _HEADERS + "CLIENT_REQUEST", _HEADERS + "CLIENT_RESPONSE"}
)
"""Variables of other instrumentations whose names are similar to a variable of this package."""
UNUSED: Mapping[str, str] = {
    **dict.fromkeys(
        ("OTEL_CONFIG_FILE", "OTEL_EXPERIMENTAL_CONFIG_FILE"),
        "Set the variables instead: no configuration file is read.",
    ),
    "OTEL_LOG_LEVEL": "Set the level of Python's logger avatar_telemetry.",
    **dict.fromkeys(
        ("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT"),
        "Log records have a fixed set of attributes and a bounded text.",
    ),
    **dict.fromkeys(
        ("OTEL_EXPORTER_ZIPKIN_ENDPOINT", "OTEL_EXPORTER_ZIPKIN_TIMEOUT"),
        "Send OTLP to a collector, which can export to Zipkin.",
    ),
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": (
        "Histograms have explicit buckets: pass the boundaries where the histogram is created."
    ),
    "OTEL_PYTHON_ID_GENERATOR": "Trace ids are random.",
    "OTEL_PYTHON_DJANGO_EXCLUDED_URLS": "Set OTEL_PYTHON_WSGI_EXCLUDED_URLS.",
    **dict.fromkeys(
        ("OTEL_PYTHON_LOG_CORRELATION", "OTEL_PYTHON_LOG_FORMAT", "OTEL_PYTHON_LOG_LEVEL"),
        "Log records always have the trace; use its fields in your own format (docs/logging.md).",
    ),
    **dict.fromkeys(
        (
            "OTEL_PYTHON_TRACER_CONFIGURATOR", "OTEL_PYTHON_METER_CONFIGURATOR",
            "OTEL_PYTHON_LOGGER_CONFIGURATOR", "OTEL_PYTHON_DISTRO", "OTEL_PYTHON_CONFIGURATOR",
            "OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED",
            "OTEL_PYTHON_AUTO_INSTRUMENTATION_EXPERIMENTAL_GEVENT_PATCH",
        ),
        "It configures the command opentelemetry-instrument, which is not used here.",
    ),
}  # fmt: skip
"""Variables of OpenTelemetry that are not used here -> the advice about each."""
DEFAULTS = {
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": "explicit_bucket_histogram",
    "OTEL_PYTHON_ID_GENERATOR": "random",
}
"""Values of unused variables that match the behaviour of this package."""
OPT_INS = frozenset(
    {"gen_ai_latest_experimental", "gen_ai_tool_definitions"}.union(
        *(
            {area, f"{area}/dup"}
            for area in ("http", "code", "database", "k8s", "messaging", "rpc", "service.peer")
        )
    )
)
"""The values of ``OTEL_SEMCONV_STABILITY_OPT_IN`` (semantic conventions, migration guides)."""


class Typo(NamedTuple):
    """A probable typo, or an unused variable.

    Args:
        check: the name of the doctor's finding.
        message: the fact.
        advice: the fix.
    """

    check: str
    message: str
    advice: str


def typos(environ: Mapping[str, str]) -> Iterator[Typo]:
    """Yield the probable typos and the unused variables of an environment."""
    yield from _variables(environ)
    yield from _opt_ins(environ)
    yield from _unused(environ)


def _variables(environ: Mapping[str, str]) -> Iterator[Typo]:
    ours = {name for each in variables() for name in (each.variable, each.alias) if name}
    others = [
        name
        for name in sorted(environ.keys() - ours - SIMILAR_NAMES)
        if name.startswith(("OTEL_", "IVATAR_", "PROMETHEUS_"))
    ]
    known = ours | UNUSED.keys() | _of_opentelemetry() if others else ours
    for name in (name for name in others if name not in known):
        near = difflib.get_close_matches(name, known, n=1, cutoff=MIN_SIMILARITY)
        if near:
            yield Typo("settings.misspelt", f"unknown variable {name}", f"Did you mean {near[0]}?")


def _of_opentelemetry() -> set[str]:
    """Return the variables of the API and of the SDK, some of which have an underscore there."""
    # Not at the top: a process that sends nothing does not import the SDK.
    from opentelemetry import environment_variables as api
    from opentelemetry.sdk import environment_variables as sdk

    return {name.lstrip("_") for each in (api, sdk) for name in vars(each)}


def _opt_ins(environ: Mapping[str, str]) -> Iterator[Typo]:
    setting = SETTINGS["semconv"]
    for value in sorted(opt_ins(raw_text(environ, setting)) - OPT_INS):
        near = difflib.get_close_matches(value, OPT_INS, n=1)
        advice = f"Did you mean {near[0]}?" if near else f"It must be {setting.allowed}."
        shown = value[:MAX_SHOWN_LENGTH]
        yield Typo("settings.opt_in", f"{setting.variable}: unknown value {shown!r}", advice)


def _unused(environ: Mapping[str, str]) -> Iterator[Typo]:
    for name in sorted(environ.keys() & UNUSED.keys()):
        if environ[name] and environ[name].strip().lower() != DEFAULTS.get(name):
            yield Typo("settings.unused", f"{name} is not used by this package", UNUSED[name])
    exporter = SETTINGS["metrics_exporters"]
    if "prometheus" not in raw_text(environ, exporter).lower():
        for name in ("prometheus_host", "prometheus_port"):
            variable = SETTINGS[name].variable
            if environ.get(variable):
                advice = f"Set {exporter.variable}=prometheus, or OTEL_PROMETHEUS_ENDPOINT."
                yield Typo("settings.unused", f"{variable} is set but not used", advice)
