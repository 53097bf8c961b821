"""The variables of an environment: what is set, and what is ignored for which reason."""

from __future__ import annotations

import pytest

from avatar_telemetry.cli.given import HIDDEN, given_variables
from tests.support.running import invoke

SECRET = "very-secret-1"
ON = {"OTEL_EXPORT_ENABLED": "true"}


def reason(name: str, **environ: str) -> str:
    """The reason why a variable of the environment is ignored; empty where it has an effect."""
    (found,) = (each for each in given_variables(environ) if each.variable == name)
    assert found.state == ("ignored" if found.reason else "set")
    return found.reason


def test_what_is_set_has_its_meaning() -> None:
    """A variable with an effect is shown with its value and its meaning; others are not ours."""
    (found,) = given_variables({"OTEL_SERVICE_NAME": "mine", "PATH": "/bin", "DJANGO_X": "1"})
    assert (found.variable, found.value, found.state) == ("OTEL_SERVICE_NAME", "mine", "set")
    assert found.meaning == "Name of the service."


@pytest.mark.parametrize(
    ("name", "environ", "words"),
    [
        pytest.param("OTEL_SERVICE_NAME", {"OTEL_SERVICE_NAME": ""}, "unset", id="empty"),
        pytest.param(
            "AVATAR_TELEMETRY_METRICS_PATH", {"AVATAR_TELEMETRY_METRICS_PATH": ""}, "",
            id="empty with a meaning",
        ),
        pytest.param("OTEL_BSP_SCHEDULE_DELAY", {**ON, "OTEL_BSP_SCHEDULE_DELAY": "x"},
                     "must be milliseconds from 10", id="invalid and lenient"),
        pytest.param("OTEL_ENABLED", {**ON, "OTEL_ENABLED": "false"},
                     "OTEL_EXPORT_ENABLED takes precedence", id="alias"),
        pytest.param("OTEL_ENABLED", {"OTEL_ENABLED": "true"}, "", id="alias alone"),
        pytest.param(
            "OTEL_EXPORTER_OTLP_TIMEOUT",
            {**ON, **{f"OTEL_EXPORTER_OTLP{name}_TIMEOUT": "5"
                      for name in ("", "_TRACES", "_METRICS", "_LOGS")}},
            "_TRACES_TIMEOUT take precedence", id="all signals have their own",
        ),
        pytest.param(
            "OTEL_EXPORTER_OTLP_TIMEOUT",
            {**ON, "OTEL_EXPORTER_OTLP_TIMEOUT": "5", "OTEL_EXPORTER_OTLP_LOGS_TIMEOUT": "6"},
            "", id="one signal has its own",
        ),
        pytest.param("OTEL_EXPORTER_OTLP_ENDPOINT", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"},
                     "nothing is exported", id="not exported"),
        pytest.param("OTEL_BLRP_SCHEDULE_DELAY", {**ON, "OTEL_BLRP_SCHEDULE_DELAY": "100"},
                     "OTEL_LOGS_EXPORTER=none", id="signal not exported"),
        pytest.param("OTEL_TRACES_SAMPLER_ARG", {**ON, "OTEL_TRACES_SAMPLER_ARG": "0.1"},
                     "parentbased_always_on has no argument", id="argument"),
        pytest.param(
            "OTEL_EXPORTER_PROMETHEUS_PORT",
            {"OTEL_METRICS_EXPORTER": "prometheus", "OTEL_EXPORTER_PROMETHEUS_PORT": "9000",
             "OTEL_PROMETHEUS_ENDPOINT": "127.0.0.1:9001"},
            "OTEL_PROMETHEUS_ENDPOINT takes precedence", id="two ports",
        ),
        pytest.param("OTEL_EXPORTER_PROMETHEUS_PORT", {"OTEL_EXPORTER_PROMETHEUS_PORT": "9000"},
                     "set but not used", id="port without its exporter"),
        pytest.param("OTEL_SERVICE_NAME",
                     {"OTEL_SDK_DISABLED": "true", "OTEL_SERVICE_NAME": "mine"},
                     "OTEL_SDK_DISABLED=true", id="disabled"),
        pytest.param("OTEL_LOG_LEVEL", {"OTEL_LOG_LEVEL": "debug"}, "Set the level", id="unused"),
        pytest.param("OTEL_TRACE_SAMPLER", {"OTEL_TRACE_SAMPLER": "always_on"},
                     "Did you mean OTEL_TRACES_SAMPLER", id="misspelt"),
        pytest.param("OTEL_OF_ANOTHER_PROGRAM", {"OTEL_OF_ANOTHER_PROGRAM": "1"},
                     "does not read it", id="unknown"),
        pytest.param("AVATAR_TELEMETRY_PORT", {"AVATAR_TELEMETRY_PORT": "tcp://10.0.0.1:80"},
                     "Kubernetes", id="service"),
    ],
)  # fmt: skip
def test_reasons(name: str, environ: dict[str, str], words: str) -> None:
    """Each variable without effect has the reason, and one with an effect has none."""
    found = reason(name, **environ)
    assert words in found
    assert bool(found) == bool(words)


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        pytest.param("OTEL_EXPORTER_OTLP_HEADERS", f"a={SECRET}", HIDDEN, id="headers"),
        pytest.param("OTEL_EXPORTER_OTLP_HEADER", f"a={SECRET}", HIDDEN, id="misspelt"),
        pytest.param("AVATAR_TELEMETRY_METRICS_TOKEN", SECRET, HIDDEN, id="token"),
        pytest.param("AVATAR_TELEMETRY_METRICS_TOKNE", SECRET, HIDDEN, id="misspelt token"),
        pytest.param("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://me:{SECRET}@c", HIDDEN, id="password"),
        pytest.param("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://c/?key={SECRET}",
                     f"http://c/?{HIDDEN}", id="query"),
        pytest.param("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://c/#{SECRET}?x=1\n{SECRET}",
                     f"http://c/#{HIDDEN}", id="fragment"),
        pytest.param("OTEL_EXPORTER_OTLP_ENDPOINT", f"c:4318/x?key={SECRET}",
                     f"c:4318/x?{HIDDEN}", id="no scheme"),
        pytest.param("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", f"c:4318/x#{SECRET}",
                     f"c:4318/x#{HIDDEN}", id="no scheme, fragment"),
        pytest.param("OTEL_PYTHON_EXCLUDED_URLS", "health?", "health?", id="no URL"),
        pytest.param("AVATAR_TELEMETRY_METRICS_TOKEN", "", "", id="empty"),
    ],
)  # fmt: skip
def test_secrets_are_not_shown(name: str, value: str, shown: str) -> None:
    """No secret is in a value or a reason, not even under a misspelt name."""
    (found,) = given_variables({name: value})
    assert found.value == shown
    assert SECRET not in repr(found)


def test_a_fault_comes_first() -> None:
    """A variable that stops the start is the first, and the status is 2."""
    env = {"OTEL_ENABLED": "x", "AVATAR_TELEMETRY_PRIVCY": "off", "OTEL_SERVICE_NAME": "mine"}
    ran = invoke("settings", "--from-env", **env)
    assert ran.status == 2
    lines = ran.out.splitlines()
    assert lines[0] == "Faults: the server does not start (2)"
    assert "did you mean AVATAR_TELEMETRY_PRIVACY?" in lines[1]
    assert lines[2].startswith("  OTEL_ENABLED='x': must be true or false")
    assert ran.out.index("Faults") < ran.out.index("Set (2)") < ran.out.index("OTEL_SERVICE_NAME")


def test_json_and_a_word() -> None:
    """``--json`` has the same values; a word selects variables."""
    shown = invoke("settings", "--from-env", "--json", "of the service", OTEL_SERVICE_NAME="mine")
    assert shown.status == 0
    assert shown.json() == [
        {"variable": "OTEL_SERVICE_NAME", "value": "mine", "state": "set", "reason": "",
         "meaning": "Name of the service."},
    ]  # fmt: skip
    assert "No variable" in invoke("settings", "--from-env", "no-such-word").out
