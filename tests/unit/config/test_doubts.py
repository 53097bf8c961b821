"""What is told of variables and words that are not forbidden and perhaps misspelt."""

from __future__ import annotations

import pytest
from opentelemetry import environment_variables as api
from opentelemetry.instrumentation import environment_variables as instrumentation
from opentelemetry.sdk import environment_variables as sdk

from avatar_telemetry.config.doubts import UNUSED, doubts
from avatar_telemetry.config.settings import variables

OPT_IN = "OTEL_SEMCONV_STABILITY_OPT_IN"


@pytest.mark.parametrize(
    ("env", "told"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPIONT": "http://c:4318"},
         "OTEL_EXPORTER_OTLP_ENDPIONT is read by nobody. Is OTEL_EXPORTER_OTLP_ENDPOINT meant?"),
        ({"OTEL_TRACE_SAMPLER": "always_on"},
         "OTEL_TRACE_SAMPLER is read by nobody. Is OTEL_TRACES_SAMPLER meant?"),
        ({OPT_IN: "htp"}, f"{OPT_IN}: 'htp' means nothing. Is http meant?"),
        ({OPT_IN: "http, Datbase/dup"},
         f"{OPT_IN}: 'datbase/dup' means nothing. Is database/dup meant?"),
        ({OPT_IN: "yes"},
         f"{OPT_IN}: 'yes' means nothing. Here it may be http, http/dup, comma-separated."),
    ],
)  # fmt: skip
def test_told(env: dict[str, str], told: str) -> None:
    """What is perhaps misspelt is named with what was perhaps meant."""
    assert [f"{each.message}. {each.advice}" for each in doubts(env)] == [told]


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"),
        ("OTEL_ENABLED", "true"),
        ("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "explicit_bucket_histogram"),
        ("OTEL_METRICS_EXEMPLAR_FILTER", "always_off"),
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
def test_not_told(variable: str, text: str) -> None:
    """What is known, to whomever, is no news."""
    assert not list(doubts({variable: text}))


@pytest.mark.parametrize("variable", UNUSED)
def test_unused_variables_are_told(variable: str) -> None:
    """One warning names a variable that is set and means nothing here, and says what to do."""
    (doubt,) = doubts({variable: "something"})
    assert doubt == ("settings.unused", f"{variable} is known and not used", UNUSED[variable])


@pytest.mark.parametrize("name", ["HOST", "PORT"])
def test_a_prometheus_port_without_the_exporter(name: str) -> None:
    """The exporter's host and port do nothing where the exporter is not chosen."""
    environ = {f"OTEL_EXPORTER_PROMETHEUS_{name}": "1"}
    assert [each.check for each in doubts(environ)] == ["settings.unused"]
    assert not list(doubts({**environ, "OTEL_METRICS_EXPORTER": "otlp, Prometheus"}))


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
