"""What is told of variables and words that are not forbidden and perhaps misspelt."""

from __future__ import annotations

import pytest

from avatar_telemetry.config.doubts import doubts

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
        ("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION", "x"),
        ("OTEL_PYTHON_ASGI_EXCLUDED_URLS", "x"),
        ("OTEL_PYTHON_DJANGO_EXCLUDED_URLS", "x"),
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
