"""Settings: frozen, checked at once, every fault named."""

from __future__ import annotations

import dataclasses
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_telemetry.errors import SettingsError
from avatar_telemetry.settings import SETTINGS, Allow, Settings, sdk_disabled

VARIABLES = [setting.variable for setting in SETTINGS.values()]


def test_every_field_is_a_documented_setting() -> None:
    """What can be set is what is described, and the other way round."""
    assert [each.name for each in dataclasses.fields(Settings)] == list(SETTINGS)


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
    assert settings.max_series == 10_000


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("OTEL_EXPORT_ENABLED", "true", "export_enabled", True),
        ("OTEL_ENABLED", "TRUE", "export_enabled", True),
        ("OTEL_PROMETHEUS_ENDPOINT", "0.0.0.0:9467", "prometheus_endpoint", ("0.0.0.0", 9467)),
        ("OTEL_PROMETHEUS_ENDPOINT", "[::1]:9467", "prometheus_endpoint", ("::1", 9467)),
        ("OTEL_PROMETHEUS_ENDPOINT", ":9467", "prometheus_endpoint", ("", 9467)),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c.internal:4317", "otlp_endpoint",
         "http://c.internal:4317"),
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
]


@pytest.mark.parametrize(("variable", "text"), BAD)
def test_a_bad_value_is_named(variable: str, text: str) -> None:
    """The message names the variable, the value unless it is secret, and what is allowed."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({variable: text})
    message = str(caught.value)
    assert f"{variable}=" in message
    assert "allowed is" in message
    assert ("(not shown)" in message) == ("TOKEN" in variable)


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


@given(st.dictionaries(st.sampled_from(VARIABLES), st.text()))
def test_any_text_is_a_value_or_a_settings_error(environ: dict[str, str]) -> None:
    """Whatever stands in the environment, the only error is the one that names it."""
    try:
        Settings.from_env(environ)
    except SettingsError as error:
        assert str(error).startswith("avatar_telemetry: the configuration cannot be used")
