"""The variables of an environment that concern this package, with their effect."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from avatar_telemetry.config import parsing
from avatar_telemetry.config.otlp import OTLP_SETTINGS, SIGNALS
from avatar_telemetry.config.settings import OWN_PREFIX, SETTINGS, Settings, variables
from avatar_telemetry.config.typos import typos
from avatar_telemetry.config.variable import Setting, may_have_secret, raw_texts

HIDDEN = "(set, not shown)"
PREFIXES = ("OTEL_", "IVATAR_", "PROMETHEUS_", OWN_PREFIX)
SIGNAL_OF = {
    "OTEL_EXPORTER_OTLP_TRACES_": "traces", "OTEL_BSP_": "traces",
    "OTEL_EXPORTER_OTLP_METRICS_": "metrics", "OTEL_METRIC_EXPORT_TIMEOUT": "metrics",
    "OTEL_EXPORTER_OTLP_LOGS_": "logs", "OTEL_BLRP_": "logs",
}  # fmt: skip
"""Beginning of a variable -> the signal whose export it configures."""
EXPORT = (*SIGNAL_OF, "OTEL_EXPORTER_OTLP_", "OTEL_TRACES_", "OTEL_LOGS_EXPORTER")
"""Beginnings of the variables that have no effect where nothing is exported."""

State = Literal["fault", "ignored", "set"]


@dataclass(frozen=True)
class Given:
    """A variable of the environment.

    Args:
        variable: the name of the variable.
        value: its text, without secrets.
        state: ``fault`` where it stops the start of the server.
        reason: the fault, or the reason why it is ignored; else empty.
        meaning: the meaning of a known variable, else empty.
    """

    variable: str
    value: str
    state: State
    reason: str
    meaning: str


def given_variables(environ: Mapping[str, str]) -> list[Given]:
    """Return the variables of an environment: the faults, the ignored ones, then the others."""
    settings, faults = Settings.read(environ)
    found: list[Given] = []
    for name in sorted(environ):
        setting = _setting_of(name)
        if setting is None and not name.startswith(PREFIXES):
            continue
        fault = _line_about(name, faults)
        reason = fault or _reason_to_ignore(name, setting, settings, environ)
        state: State = "fault" if fault else "ignored" if reason else "set"
        value = shown_value(setting, environ[name])
        found.append(Given(name, value, state, reason, setting.meaning if setting else ""))
    states: tuple[State, ...] = ("fault", "ignored", "set")
    return sorted(found, key=lambda each: states.index(each.state))


def shown_value(setting: Setting | None, text: str) -> str:
    """Return a text without secrets; nothing of that of an unknown variable, which may be the
    misspelt name of a secret one."""
    if text and (setting is None or setting.secret or "@" in text):
        return HIDDEN
    if setting and may_have_secret(setting, text):
        return re.sub("([?#]).*", rf"\1{HIDDEN}", text, flags=re.DOTALL)
    return text


def _setting_of(name: str) -> Setting | None:
    """Return the declaration of a variable or of an alias."""
    known = {each.alias: each for each in SETTINGS.values() if each.alias}
    return {**known, **{each.variable: each for each in variables()}}.get(name)


def _reason_to_ignore(
    name: str, setting: Setting | None, settings: Settings, environ: Mapping[str, str]
) -> str:
    """Return the reason why a variable has no effect; empty where it has one."""
    if setting is not None and not environ[name] and not setting.empty:
        return "It is empty, which counts as unset."
    suspect = [f"{each.message}. {each.advice}" for each in typos(environ)]
    if line := _line_about(name, [*settings.warnings, *suspect]):
        return line
    if setting is None:
        if name.startswith(OWN_PREFIX):
            return "Kubernetes sets it for a Service of this name."
        return "This package does not read it."
    return next(_effects(name, settings, environ), "")


def _effects(name: str, settings: Settings, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the settings that leave a valid variable without effect."""
    if settings.sdk_disabled and name != SETTINGS["sdk_disabled"].variable:
        yield "OTEL_SDK_DISABLED=true disables the telemetry."
    readers = [each for each in _readers() if name in (each.variable, each.alias)]
    sources = {next(raw_texts(environ, each))[0] for each in readers}
    if readers and name not in sources:
        verb = "takes" if len(sources) == 1 else "take"
        yield f"{', '.join(sorted(sources))} {verb} precedence."
    if name in (SETTINGS["prometheus_host"].variable, SETTINGS["prometheus_port"].variable):
        address = settings.prometheus_host, settings.prometheus_port
        if settings.prometheus_endpoint != address:
            yield f"{SETTINGS['prometheus_endpoint'].variable} takes precedence."
    if name == SETTINGS["sampler_argument"].variable and (
        settings.sampler in parsing.SAMPLERS and not settings.sampler.endswith("traceidratio")
    ):
        yield f"The sampler {settings.sampler} has no argument."
    if not settings.export_enabled and name.startswith(EXPORT):
        yield "OTEL_EXPORT_ENABLED is not true: nothing is exported."
    for beginning, signal in SIGNAL_OF.items():
        if name.startswith(beginning) and getattr(settings, f"{signal}_exporters") == ("none",):
            yield f"OTEL_{signal.upper()}_EXPORTER=none: no {signal} are exported."


def _readers() -> Iterator[Setting]:
    """Yield the declarations that are read; a variable for all signals is their alias."""
    yield from SETTINGS.values()
    for signal in SIGNALS:
        yield from OTLP_SETTINGS[signal].values()


def _line_about(name: str, lines: Iterable[str]) -> str:
    """Return the first line that begins with a variable, or with the unknown variable."""
    about = re.compile(rf"(unknown variable )?{re.escape(name)}\b")
    return next((line for line in lines if about.match(line)), "")
