"""Settings: frozen, checked at once, every fault named."""

from __future__ import annotations

import dataclasses
import re
import socket
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avatar_telemetry._base.errors import SettingsError
from avatar_telemetry.config import parsing
from avatar_telemetry.config.otlp import Signal
from avatar_telemetry.config.parsing import Allow
from avatar_telemetry.config.settings import (
    PROBES,
    SETTINGS,
    Settings,
    sdk_disabled,
    service_name,
    variables,
)
from avatar_telemetry.config.variable import Setting

VARIABLES = [setting.variable for setting in variables()]


def test_every_field_is_a_documented_setting() -> None:
    """What can be set is what is described, and the other way round."""
    fields = [each.name for each in dataclasses.fields(Settings)]
    assert fields == [*SETTINGS, "otlp", "warnings", "corrected"]


def test_nothing_set_gives_the_defaults() -> None:
    """The documented defaults hold."""
    settings = Settings.from_env({})
    assert settings.service_name == "ivatar"
    assert settings.environment == "development"
    assert settings.service_version == "2.0"
    assert settings.hostname == socket.gethostname()
    assert not settings.export_enabled
    assert settings.prometheus_endpoint is None
    assert settings.metrics_path == "/metrics"
    assert settings.flush_timeout == 3.0
    assert settings.max_series == 20_000
    assert settings.ring_size == 1 << 20


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("OTEL_EXPORT_ENABLED", "true", "export_enabled", True),
        ("OTEL_ENABLED", "TRUE", "export_enabled", True),
        ("OTEL_PROMETHEUS_ENDPOINT", "0.0.0.0:9467", "prometheus_endpoint", ("0.0.0.0", 9467)),
        ("OTEL_PROMETHEUS_ENDPOINT", "[::1]:9467", "prometheus_endpoint", ("::1", 9467)),
        ("OTEL_PROMETHEUS_ENDPOINT", ":9467", "prometheus_endpoint", ("", 9467)),
        ("OTEL_METRICS_EXPORTER", "prometheus", "prometheus_endpoint", ("localhost", 9464)),
        ("OTEL_EXPORTER_PROMETHEUS_PORT", "9000", "prometheus_endpoint", None),
        ("AVATAR_TELEMETRY_RING_SIZE", "65536", "ring_size", 1 << 16),
        ("AVATAR_TELEMETRY_SLOW_STACK", "", "slow_stack", 0.0),
        ("AVATAR_TELEMETRY_SLOW_STACK", "250ms", "slow_stack", 0.25),
        ("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "flask, Pillow,urllib3", "probes_off",
         frozenset({"pillow", "urllib3"})),
        ("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "*", "probes_off", frozenset(PROBES)),
        ("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "process,os", "resource_detectors",
         ("process", "os")),
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
        ("HOSTNAME", "", "hostname", socket.gethostname()),
        ("HOSTNAME", "here", "hostname", "here"),
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
    ("OTEL_ENABLED", "maybe"),
    ("OTEL_ENVIRONMENT", "a\nb"),
    ("IVATAR_VERSION", "a\nb"),
    ("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS", "("),
    ("AVATAR_TELEMETRY_SERVER_TIMING", "maybe"),
    ("AVATAR_TELEMETRY_SLOW_STACK", "1"),
    ("AVATAR_TELEMETRY_SLOW_STACK", "50ms"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
    ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "[::1]:4318"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:99999"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector"),
    ("OTEL_PROMETHEUS_ENDPOINT", "9467"),
    ("OTEL_EXPORTER_PROMETHEUS_HOST", "a host"),
    ("OTEL_PROMETHEUS_ENDPOINT", "host:99999"),
    ("OTEL_SERVICE_NAME", "a\nb"),
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
    ("AVATAR_TELEMETRY_RING_SIZE", "65535"),
    ("AVATAR_TELEMETRY_RING_SIZE", "1M"),
    ("AVATAR_TELEMETRY_RING_SIZE", "1073741825"),
    ("AVATAR_TELEMETRY_METRICS_TOKEN", "short"),
    ("AVATAR_TELEMETRY_METRICS_TOKEN", "change-me-please"),
    ("AVATAR_TELEMETRY_HASH_KEY", "CHANGEME-now"),
    ("AVATAR_TELEMETRY_HASH_KEY", "short"),
    ("AVATAR_TELEMETRY_TRUST_INCOMING", "never"),
    ("AVATAR_TELEMETRY_PROBES", "pillow"),
    ("AVATAR_TELEMETRY_PROBES", "-no_such"),
    ("OTEL_PYTHON_WSGI_EXCLUDED_URLS", "("),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:abc"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:99999"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a collector:4318"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://[::1"),
    ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "novalue"),
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/no/such/file"),
]
IGNORED = [
    ("OTEL_SDK_DISABLED", "1", "the default 'false' is used"),
    ("OTEL_SDK_DISABLED", "on", "the default 'false' is used"),
    ("OTEL_RESOURCE_ATTRIBUTES", "a=b,novalue", "it counts as unset"),
    ("OTEL_TRACES_EXPORTER", "jaeger", "the default 'otlp' is used"),
    ("OTEL_METRICS_EXPORTER", "statsd", "the default 'otlp' is used"),
    ("OTEL_LOGS_EXPORTER", "syslog", "the default 'none' is used"),
    ("OTEL_TRACES_SAMPLER", "sometimes", "the default 'parentbased_always_on' is used"),
    ("OTEL_PROPAGATORS", "pigeon", "the default 'tracecontext,baggage' is used"),
    ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "0", "it counts as unset"),
    ("OTEL_BSP_MAX_QUEUE_SIZE", "many", "the default '2048' is used"),
    ("OTEL_BLRP_SCHEDULE_DELAY", "-1", "the default '1000' is used"),
    ("OTEL_METRIC_EXPORT_INTERVAL", "1m", "the default '60000' is used"),
    ("OTEL_SPAN_LINK_COUNT_LIMIT", "-1", "the default '128' is used"),
    ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "short", "it counts as unset"),
    ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "x", "the default 'cumulative' is used"),
    ("OTEL_EXPORTER_PROMETHEUS_PORT", "tcp://10.0.0.1:9464", "the default '9464' is used"),
    ("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "nowhere", "it counts as unset"),
    ("OTEL_BSP_EXPORT_TIMEOUT", "30s", "the default '30000' is used"),
    ("OTEL_BLRP_EXPORT_TIMEOUT", "-1", "the default '30000' is used"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "it counts as unset"),
    ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "udp", "it counts as unset"),
    ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "never", "the default '10' is used"),
    ("OTEL_EXPORTER_OTLP_COMPRESSION", "zip", "the default 'none' is used"),
    ("OTEL_EXPORTER_OTLP_METRICS_INSECURE", "1", "the default 'false' is used"),
]
SECRETS = ("TOKEN", "KEY", "HEADERS")


@pytest.mark.parametrize(
    "url",
    ["http://user:hunter2@collector", "http://:hunter2@collector", "ftp://c/?key=hunter2",
     "c:4318/x?key=hunter2", "c:4318/x#hunter2", "ftp://c/#hunter2"],
)  # fmt: skip
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
    assert "must be" in message
    assert ("(not shown)" in message) == variable.endswith(SECRETS)


@pytest.mark.parametrize(("variable", "text", "instead"), IGNORED)
def test_a_bad_standard_value_is_ignored(variable: str, text: str, instead: str) -> None:
    """One warning names variable, value, what is allowed and what is used instead."""
    settings = Settings.from_env({variable: text})
    assert settings == Settings.from_env({})
    (line,) = settings.warnings
    assert line.startswith(f"{variable}={text!r}: must be ")
    assert line.endswith(f"; {instead}")
    assert settings.corrected == {variable: ""}


@pytest.mark.parametrize(
    ("environ", "field", "value", "corrected"),
    [
        pytest.param({"OTEL_TRACES_EXPORTER": "zipkin,Console"}, "traces_exporters", ("console",),
                     "console", id="unknown"),
        pytest.param({"OTEL_TRACES_EXPORTER": "none,console"}, "traces_exporters", ("console",),
                     "console", id="none and more"),
        pytest.param({"OTEL_PROPAGATORS": "baggage,pigeon"}, "propagators", ("baggage",),
                     "baggage", id="propagators"),
        pytest.param({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"},
                     "sampler_argument", "", "", id="share"),
    ],
)  # fmt: skip
def test_unknown_words_are_left_out(
    environ: dict[str, str], field: str, value: object, corrected: str
) -> None:
    """Of a list the known words stay, so that nothing is sent where nobody asked for it."""
    settings = Settings.from_env(environ)
    variable = next(reversed(environ))
    assert getattr(settings, field) == value
    assert [line.partition("=")[0] for line in settings.warnings] == [variable]
    assert settings.corrected == {variable: corrected}


def test_an_ignored_value_of_a_signal_leaves_that_of_all() -> None:
    """A bad value for one signal counts as unset, so the value for all signals is used."""
    prefix = "OTEL_EXPORTER_OTLP_"
    settings = Settings.from_env({prefix + "TIMEOUT": "7", prefix + "TRACES_TIMEOUT": "x"})
    assert settings.otlp["traces"].timeout == 7
    assert settings.warnings == (
        "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT='x': must be seconds from 0.1 to 300;"
        " '7' of OTEL_EXPORTER_OTLP_TIMEOUT is used",
    )


def test_only_standard_variables_are_lenient() -> None:
    """Names of this package and of ivatar's document stop the start, and so do endpoints, files,
    headers and patterns, whose default would send elsewhere or drop a protection."""
    strict = {each.variable for each in variables() if not each.lenient}
    endings = ("ENDPOINT", "HEADERS", "CERTIFICATE", "KEY", "_URLS", "_REQUEST", "_RESPONSE",
               "SANITIZE_FIELDS")  # fmt: skip
    others = {
        "OTEL_EXPORT_ENABLED", "OTEL_SERVICE_NAME", "OTEL_ENVIRONMENT", "IVATAR_VERSION",
        "HOSTNAME", "PROMETHEUS_MULTIPROC_DIR", "OTEL_SEMCONV_STABILITY_OPT_IN",
        "OTEL_EXPORTER_PROMETHEUS_HOST", "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS",
    }  # fmt: skip
    assert {
        each for each in strict if not each.startswith("AVATAR_") and not each.endswith(endings)
    } == others
    assert not any(
        each.variable.startswith("AVATAR_") or each.variable.endswith(endings)
        for each in variables()
        if each.lenient
    )


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
    assert "must be networks" in str(caught.value)
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
        pytest.param({"PROTOCOL": "grpc"}, "logs", "http://localhost:4317", id="default of grpc"),
        pytest.param({"TRACES_PROTOCOL": "grpc"}, "traces", "http://localhost:4317",
                     id="default of one signal's grpc"),
        pytest.param({"TRACES_PROTOCOL": "grpc"}, "metrics", "http://localhost:4318/v1/metrics",
                     id="default of the other signals"),
        pytest.param({"ENDPOINT": "c:4317", "PROTOCOL": "grpc"}, "logs", "https://c:4317",
                     id="grpc without a scheme"),
        pytest.param({"ENDPOINT": "c:4317", "PROTOCOL": "grpc", "INSECURE": "true"}, "logs",
                     "http://c:4317", id="grpc without a scheme, insecure"),
        pytest.param({"TRACES_ENDPOINT": "[::1]:1", "PROTOCOL": "grpc", "TRACES_INSECURE": "True"},
                     "traces", "http://[::1]:1", id="one signal insecure"),
        pytest.param({"ENDPOINT": "https://c", "PROTOCOL": "grpc", "INSECURE": "true"}, "logs",
                     "https://c", id="a scheme wins"),
    ],
)  # fmt: skip
def test_endpoints(environ: dict[str, str], signal: Signal, endpoint: str) -> None:
    """Endpoints are put together as the specification of the OTLP exporter has it."""
    variables = {f"OTEL_EXPORTER_OTLP_{name}": text for name, text in environ.items()}
    assert Settings.from_env(variables).otlp[signal].endpoint == endpoint


def test_an_endpoint_without_a_scheme_is_refused_for_http() -> None:
    """The refusal says what to write, and names the variable that has it."""
    prefix = "OTEL_EXPORTER_OTLP_"
    bad = {
        prefix + "ENDPOINT": "c:4317", prefix + "PROTOCOL": "grpc",
        prefix + "LOGS_PROTOCOL": "http/protobuf",
    }  # fmt: skip
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(bad)
    (line,) = caught.value.faults
    assert line.startswith(f"{prefix}ENDPOINT='c:4317': must be an http or https URL")
    assert line.endswith(f"; write http://c:4317, or set {prefix}PROTOCOL=grpc")


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        pytest.param({}, "ivatar", id="default"),
        pytest.param({"OTEL_RESOURCE_ATTRIBUTES": "service.name=x"}, "x", id="attribute"),
        pytest.param({"OTEL_RESOURCE_ATTRIBUTES": "service.name=x", "OTEL_SERVICE_NAME": "y"}, "y",
                     id="both"),
        pytest.param({"OTEL_RESOURCE_ATTRIBUTES": "service.name=x", "OTEL_SERVICE_NAME": ""}, "x",
                     id="empty"),
        pytest.param({"OTEL_RESOURCE_ATTRIBUTES": "service.name="}, "ivatar", id="empty attribute"),
        pytest.param({"OTEL_RESOURCE_ATTRIBUTES": "service.name"}, "ivatar", id="bad attribute"),
    ],
)  # fmt: skip
def test_service_name(environ: dict[str, str], name: str) -> None:
    """The variable of the name takes precedence over the attribute, and that over the default."""
    assert Settings.from_env(environ).service_name == service_name(environ) == name


@pytest.mark.parametrize(
    ("text", "corrected"),
    [
        pytest.param("a=b,", {"OTEL_RESOURCE_ATTRIBUTES": "a=b"}, id="at the end"),
        pytest.param(",a=b, ,c=d", {"OTEL_RESOURCE_ATTRIBUTES": "a=b,c=d"}, id="anywhere"),
        pytest.param(",", {"OTEL_RESOURCE_ATTRIBUTES": ""}, id="nothing else"),
        pytest.param("a=b,c=d", {}, id="none"),
        pytest.param("", {}, id="empty"),
    ],
)
def test_empty_members_are_dropped(text: str, corrected: dict[str, str]) -> None:
    """An empty member is no fault, and the SDK, which warns of it, does not see it."""
    settings = Settings.from_env({"OTEL_RESOURCE_ATTRIBUTES": text})
    assert settings.warnings == ()
    assert settings.corrected == corrected


@pytest.mark.parametrize(
    "setting",
    [each for each in variables() if each.parse is parsing.boolean],
    ids=lambda each: each.variable,
)
def test_the_help_names_every_boolean_word(setting: Setting) -> None:
    """Each word that is accepted stands in the help, and the other way round."""
    words = re.findall(r"[a-z0-9]+", setting.allowed.replace("also", "").replace("or", ""))
    assert {setting.parse(word) for word in words} == {True, False}
    assert set(words) == {"true", "false", "yes", "no", "on", "off", "1", "0"}


@pytest.mark.parametrize(
    ("environ", "endpoint", "variable"),
    [
        pytest.param({}, ("localhost", 9464), "OTEL_EXPORTER_PROMETHEUS_PORT", id="default"),
        pytest.param({"OTEL_EXPORTER_PROMETHEUS_HOST": "::", "OTEL_EXPORTER_PROMETHEUS_PORT": "9"},
                     ("::", 9), "OTEL_EXPORTER_PROMETHEUS_PORT", id="of the exporter"),
        pytest.param({"OTEL_EXPORTER_PROMETHEUS_PORT": "9", "OTEL_PROMETHEUS_ENDPOINT": "c:1"},
                     ("c", 1), "OTEL_PROMETHEUS_ENDPOINT", id="of ivatar's document"),
        pytest.param({"OTEL_PROMETHEUS_ENDPOINT": ""}, ("localhost", 9464),
                     "OTEL_EXPORTER_PROMETHEUS_PORT", id="empty counts as unset"),
    ],
)  # fmt: skip
def test_port_of_the_prometheus_exporter(
    environ: dict[str, str], endpoint: tuple[str, int], variable: str
) -> None:
    """The exporter's host and port are those of the separate port, unless that has its own."""
    settings = Settings.from_env({"OTEL_METRICS_EXPORTER": "prometheus", **environ})
    assert settings.prometheus_endpoint == endpoint
    assert settings.port_variable == variable


@pytest.mark.parametrize(
    ("text", "seconds"), [("2500", 2.5), ("0", 10.0), ("30000", 10.0), ("", 10.0)]
)
@pytest.mark.parametrize(("processor", "signal"), [("BSP", "traces"), ("BLRP", "logs")])
def test_timeout_of_a_processor(processor: str, signal: Signal, text: str, seconds: float) -> None:
    """A batch has the shorter of the two times; 0 is no limit, and metrics have their own."""
    settings = Settings.from_env({f"OTEL_{processor}_EXPORT_TIMEOUT": text})
    assert settings.otlp[signal].timeout == seconds
    assert settings.otlp["metrics"].timeout == 10


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
