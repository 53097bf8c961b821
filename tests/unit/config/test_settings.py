"""Settings: frozen, checked at once, every fault named."""

from __future__ import annotations

import dataclasses
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_telemetry.config.otlp import Signal
from avatar_telemetry.config.parsing import Allow
from avatar_telemetry.config.settings import Settings, sdk_disabled, variables
from avatar_telemetry.config.settings_table import SETTINGS
from avatar_telemetry.config.variable import Setting
from avatar_telemetry.errors import SettingsError

VARIABLES = [setting.variable for setting in variables()]


def test_every_field_is_a_documented_setting() -> None:
    """What can be set is what is described, and the other way round."""
    assert [each.name for each in dataclasses.fields(Settings)] == [*SETTINGS, "otlp"]


def test_nothing_set_gives_the_defaults() -> None:
    """The seed document's defaults hold."""
    settings = Settings.from_env({})
    assert settings.service_name == "ivatar"
    assert settings.environment == "development"
    assert settings.service_version == "2.0"
    assert settings.hostname == "unknown"
    assert not settings.export_enabled
    assert settings.prometheus_endpoint is None
    assert settings.metrics_path == "/metrics"
    assert settings.flush_timeout == 3.0
    assert settings.max_series == 20_000


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("OTEL_EXPORT_ENABLED", "true", "export_enabled", True),
        ("OTEL_ENABLED", "TRUE", "export_enabled", True),
        ("OTEL_PROMETHEUS_ENDPOINT", "0.0.0.0:9467", "prometheus_endpoint", ("0.0.0.0", 9467)),
        ("OTEL_PROMETHEUS_ENDPOINT", "[::1]:9467", "prometheus_endpoint", ("::1", 9467)),
        ("OTEL_PROMETHEUS_ENDPOINT", ":9467", "prometheus_endpoint", ("", 9467)),
        ("OTEL_TRACES_EXPORTER", "console, otlp", "traces_exporters", ("console", "otlp")),
        ("OTEL_TRACES_SAMPLER", "TraceIdRatio", "sampler", "traceidratio"),
        ("OTEL_PROPAGATORS", "none", "propagators", ("none",)),
        ("OTEL_SEMCONV_STABILITY_OPT_IN", "database,http", "semconv", "stable"),
        ("OTEL_SEMCONV_STABILITY_OPT_IN", "http,http/dup", "semconv", "both"),
        ("OTEL_PYTHON_EXCLUDED_URLS", "a,b", "excluded_urls", ("a", "b")),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "0", "max_span_events", 0),
        ("AVATAR_TELEMETRY_PROBES", "-pillow", "probes_off", frozenset({"pillow"})),
        ("AVATAR_TELEMETRY_PROPAGATE_TO", "Example.com,*", "propagate_to", ("example.com", "*")),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=b%20c,d=e", "resource_attributes",
         (("a", "b c"), ("d", "e"))),
        ("AVATAR_TELEMETRY_METRICS_PATH", "", "metrics_path", ""),
        ("AVATAR_TELEMETRY_SIZES", "80,40,80", "sizes", (40, 80)),
        ("AVATAR_TELEMETRY_PRIVACY", "Strict", "privacy", "strict"),
        ("HOSTNAME", "", "hostname", "unknown"),
        ("AVATAR_TELEMETRY_TRUSTED_PROXIES", "", "trusted_proxies", Allow()),
        ("AVATAR_TELEMETRY_TRUSTED_PROXIES", "10.0.0.0/8, unix", "trusted_proxies",
         Allow((ip_network("10.0.0.0/8"),), unix=True)),
    ],
)  # fmt: skip
def test_values(variable: str, text: str, field: str, value: object) -> None:
    """A text becomes the value that it stands for; an empty one counts as unset."""
    assert getattr(Settings.from_env({variable: text}), field) == value


BAD = [
    ("OTEL_EXPORT_ENABLED", "maybe"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
    ("OTEL_PROMETHEUS_ENDPOINT", "9467"),
    ("OTEL_PROMETHEUS_ENDPOINT", "host:99999"),
    ("OTEL_SERVICE_NAME", "a\nb"),
    ("OTEL_RESOURCE_ATTRIBUTES", "novalue"),
    ("AVATAR_TELEMETRY_APP", "module"),
    ("AVATAR_TELEMETRY_PROFILE", "module:"),
    ("AVATAR_TELEMETRY_PRIVACY", "some"),
    ("AVATAR_TELEMETRY_METRICS_PATH", "metrics"),
    ("AVATAR_TELEMETRY_METRICS_ALLOW", "10.0.0.1/8"),
    ("AVATAR_TELEMETRY_TRUSTED_PROXIES", "proxy"),
    ("AVATAR_TELEMETRY_SIZES", "80,large"),
    ("AVATAR_TELEMETRY_SIZES", "0"),
    ("AVATAR_TELEMETRY_FLUSH_TIMEOUT", "nan"),
    ("AVATAR_TELEMETRY_FLUSH_TIMEOUT", "-1"),
    ("AVATAR_TELEMETRY_MAX_SERIES", "10"),
    ("AVATAR_TELEMETRY_METRICS_TOKEN", "short"),
    ("AVATAR_TELEMETRY_HASH_KEY", "short"),
    ("AVATAR_TELEMETRY_TRUST_INCOMING", "never"),
    ("AVATAR_TELEMETRY_PROBES", "pillow"),
    ("AVATAR_TELEMETRY_PROBES", "-no_such"),
    ("OTEL_TRACES_SAMPLER", "sometimes"),
    ("OTEL_PROPAGATORS", "pigeon"),
    ("OTEL_TRACES_EXPORTER", "jaeger"),
    ("OTEL_METRICS_EXPORTER", "statsd"),
    ("OTEL_PYTHON_WSGI_EXCLUDED_URLS", "("),
    ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "0"),
    ("OTEL_SPAN_LINK_COUNT_LIMIT", "-1"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:abc"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:99999"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a collector:4318"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://[::1"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
    ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "never"),
    ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "novalue"),
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/no/such/file"),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", "zip"),
]
SECRETS = ("TOKEN", "KEY", "HEADERS")


@pytest.mark.parametrize(
    "url", ["http://user:hunter2@collector", "http://:hunter2@collector", "ftp://c/?key=hunter2"]
)
def test_a_bad_endpoint_keeps_its_secret(url: str) -> None:
    """A user name is refused, without one too, and no part of the URL is shown."""
    with pytest.raises(SettingsError, match=r"OTEL_EXPORTER_OTLP_ENDPOINT=\(not shown\)") as caught:
        Settings.from_env({"OTEL_EXPORTER_OTLP_ENDPOINT": url})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("variable", "text"), BAD)
def test_a_bad_value_is_named(variable: str, text: str) -> None:
    """The message names the variable, the value unless it is secret, and what is allowed."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({variable: text})
    message = str(caught.value)
    assert f"{variable}=" in message
    assert "allowed is" in message
    assert ("(not shown)" in message) == variable.endswith(SECRETS)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(
            "::1, 10.0.0.5/8",
            "10.0.0.5/8 has host bits set: 10.0.0.0/8 is the network, 10.0.0.5 that address alone",
            id="IPv4",
        ),
        pytest.param("192.0.2.9/255.255.255.0", "192.0.2.0/24 is the network", id="mask"),
        pytest.param("unix,fd00::1/8", "fd00::/8 is the network", id="IPv6"),
    ],
)
@pytest.mark.parametrize("name", ["METRICS_ALLOW", "TRUSTED_PROXIES"])
def test_host_bits_are_explained(name: str, text: str, told: str) -> None:
    """An address with the length of its network is refused with the network that was meant."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({f"AVATAR_TELEMETRY_{name}": text})
    assert "allowed is networks" in str(caught.value)
    assert told in str(caught.value)


def test_all_faults_stand_in_one_message() -> None:
    """An operator mends everything at once."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(dict(BAD))
    message = str(caught.value)
    assert all(variable in message for variable, _ in BAD)


def test_an_unknown_variable_of_ours_is_a_fault() -> None:
    """A misspelt variable does not silently do nothing."""
    with pytest.raises(SettingsError, match="did you mean AVATAR_TELEMETRY_METRICS_PATH"):
        Settings.from_env({"AVATAR_TELEMETRY_METRIC_PATH": "/m"})


def test_secrets_are_not_shown() -> None:
    """Neither repr nor an error shows a token or a password in a URL."""
    settings = Settings.from_env({"AVATAR_TELEMETRY_METRICS_TOKEN": "sesame-sesame"})
    assert "sesame" not in repr(settings)
    for environ in (
        {"AVATAR_TELEMETRY_METRICS_TOKEN": "sesame sesame"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://me:sesame@collector"},
    ):
        with pytest.raises(SettingsError) as caught:
            Settings.from_env(environ)
        assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(
    ("environ", "signal", "endpoint"),
    [
        pytest.param({}, "traces", "http://localhost:4318/v1/traces", id="default"),
        pytest.param({"ENDPOINT": "https://c/base/"}, "metrics", "https://c/base/v1/metrics",
                     id="of all signals"),
        pytest.param({"TRACES_ENDPOINT": "https://c/x", "ENDPOINT": "https://d"}, "traces",
                     "https://c/x", id="the signal's own, as it is"),
        pytest.param({"ENDPOINT": "http://c:4317", "PROTOCOL": "grpc"}, "logs", "http://c:4317",
                     id="grpc has no path"),
    ],
)  # fmt: skip
def test_endpoints(environ: dict[str, str], signal: Signal, endpoint: str) -> None:
    """Endpoints are put together as the specification of the OTLP exporter has it."""
    variables = {f"OTEL_EXPORTER_OTLP_{name}": text for name, text in environ.items()}
    assert Settings.from_env(variables).otlp[signal].endpoint == endpoint


def test_a_signals_own_variable_wins() -> None:
    """What is set for one signal stands before what is set for all of them."""
    settings = Settings.from_env(
        {
            "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20sesame",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "7",
            "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT": "2.5",
        }
    )
    assert settings.otlp["metrics"].timeout == 2.5
    assert settings.otlp["traces"].timeout == 7
    assert settings.otlp["logs"].headers == (("authorization", "Bearer sesame"),)
    assert "sesame" not in repr(settings)


@pytest.mark.parametrize(
    "environ",
    [
        pytest.param({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"},
                     id="ratio"),
        pytest.param({"OTEL_TRACES_EXPORTER": "none,otlp"}, id="none and more"),
        pytest.param({"OTEL_EXPORTER_OTLP_CLIENT_KEY": __file__}, id="key without certificate"),
    ],
)  # fmt: skip
def test_contradictions(environ: dict[str, str]) -> None:
    """What is allowed alone and makes no sense together is named, too."""
    with pytest.raises(SettingsError, match=next(reversed(environ))):
        Settings.from_env(environ)


def test_settings_are_frozen() -> None:
    """Nobody changes a setting after the start."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings.from_env({}).hostname = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "off"), [("true", True), ("TRUE", True), ("1", False), ("", False)]
)
def test_sdk_disabled_is_only_true(text: str, off: bool) -> None:
    """Only ``true`` disables, in any case (OpenTelemetry specification, boolean values)."""
    assert sdk_disabled({"OTEL_SDK_DISABLED": text}) is off


SYNTAX = st.text("aZ019.,:/-_=*%@?#[]( \n")


@given(st.dictionaries(st.sampled_from(VARIABLES), st.text() | SYNTAX, max_size=6))
def test_any_text_is_a_value_or_a_settings_error(environ: dict[str, str]) -> None:
    """Whatever the environment holds, the only error names a variable in each of its lines."""
    names = {name for each in variables() for name in (each.variable, each.alias) if name}
    try:
        Settings.from_env(environ)
    except SettingsError as error:
        assert error.faults
        for fault in error.faults:
            assert fault.partition("=")[0].partition(":")[0] in names & environ.keys()


@given(st.sampled_from([each for each in variables() if each.secret]), SYNTAX)
def test_no_secret_is_shown(setting: Setting, text: str) -> None:
    """A refused secret is not in the message."""
    secret = f"sesame{text}"
    try:
        assert "sesame" not in repr(Settings.from_env({setting.variable: secret}))
    except SettingsError as error:
        assert "sesame" not in str(error)
