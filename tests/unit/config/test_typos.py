"""Warnings about probable typos and about unused variables."""

from __future__ import annotations

import pytest
from opentelemetry import environment_variables as api
from opentelemetry.instrumentation import environment_variables as instrumentation
from opentelemetry.sdk import environment_variables as sdk

from avatar_telemetry.config.settings import variables
from avatar_telemetry.config.typos import UNUSED, typos

OPT_IN = "OTEL_SEMCONV_STABILITY_OPT_IN"


@pytest.mark.parametrize(
    ("env", "warning"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPIONT": "http://c:4318"},
         "unknown variable OTEL_EXPORTER_OTLP_ENDPIONT. Did you mean OTEL_EXPORTER_OTLP_ENDPOINT?"),
        ({"OTEL_TRACE_SAMPLER": "always_on"},
         "unknown variable OTEL_TRACE_SAMPLER. Did you mean OTEL_TRACES_SAMPLER?"),
        ({OPT_IN: "htp"}, f"{OPT_IN}: unknown value 'htp'. Did you mean http?"),
        ({OPT_IN: "http, Datbase/dup"},
         f"{OPT_IN}: unknown value 'datbase/dup'. Did you mean database/dup?"),
        ({OPT_IN: "yes"},
         f"{OPT_IN}: unknown value 'yes'. It must be http, http/dup, comma-separated."),
    ],
)  # fmt: skip
def test_typos(env: dict[str, str], warning: str) -> None:
    """A probable typo is reported with the name that was probably meant."""
    assert [f"{each.message}. {each.advice}" for each in typos(env)] == [warning]


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"),
        ("OTEL_ENABLED", "true"),
        ("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "explicit_bucket_histogram"),
        ("OTEL_PYTHON_ASGI_EXCLUDED_URLS", "x"),
        ("OTEL_PYTHON_ID_GENERATOR", "random"),
        ("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "flask"),
        ("OTEL_LOG_LEVEL", ""),
        ("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_REQUEST", "x"),
        ("OTEL_PYTHON_LOGGER_PROVIDER", "x"),
        ("OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER", "x"),
        ("OTHER_EXPORTER_OTLP_ENDPIONT", "x"),
        (OPT_IN, ""),
        (OPT_IN, "http,database/dup, messaging,code,GEN_AI_latest_experimental,"),
    ],
)
def test_known_names(variable: str, text: str) -> None:
    """A name that this package or OpenTelemetry knows is not reported."""
    assert not list(typos({variable: text}))


@pytest.mark.parametrize("variable", UNUSED)
def test_unused_variables(variable: str) -> None:
    """One warning names a variable that is set but not used, and gives advice."""
    (typo,) = typos({variable: "something"})
    assert typo == ("settings.unused", f"{variable} is not used by this package", UNUSED[variable])


@pytest.mark.parametrize("name", ["HOST", "PORT"])
def test_a_prometheus_port_without_the_exporter(name: str) -> None:
    """The exporter's host and port do nothing where the exporter is not chosen."""
    environ = {f"OTEL_EXPORTER_PROMETHEUS_{name}": "1"}
    assert [each.check for each in typos(environ)] == ["settings.unused"]
    assert not list(typos({**environ, "OTEL_METRICS_EXPORTER": "otlp, Prometheus"}))


def test_every_variable_of_opentelemetry_is_known() -> None:
    """A release of the SDK that reads another variable is noticed: it is a setting, is listed as
    not used, or is read by OpenTelemetry's own packages in a worker."""
    theirs = {
        name.lstrip("_")
        for each in (api, sdk, instrumentation)
        for name in vars(each)
        if name.lstrip("_").startswith("OTEL_")
    }
    read_by_opentelemetry = {
        name
        for name in theirs
        if name.endswith(("_CREDENTIAL_PROVIDER", "_PROVIDER", "_RETRYABLE_ERROR_CODES"))
    } | {"OTEL_PYTHON_CONTEXT", "OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED"}
    settings = {each.variable for each in variables()}
    assert theirs - settings - read_by_opentelemetry - UNUSED.keys() == set()
