"""The settings: one frozen value, built once from a mapping, every fault told at once.

settings = Settings.from_env(os.environ)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from avatar_telemetry.config import parsing
from avatar_telemetry.config.otlp import OTLP_SETTINGS, SIGNALS, Otlp, Signal, otlp
from avatar_telemetry.config.parsing import Allow, Pairs
from avatar_telemetry.config.settings_table import OWN_PREFIX, SETTINGS
from avatar_telemetry.config.variable import Setting, raw_text
from avatar_telemetry.errors import SettingsError

Privacy = Literal["strict", "balanced", "off"]
TrustIncoming = Literal["continue", "link", "ignore"]
Semconv = Literal["old", "stable", "both"]
Temporality = Literal["cumulative", "delta", "lowmemory"]

SHOWN_VALUE = 80


@dataclass(frozen=True)
class Settings:
    """Everything an operator can set. Build it with :meth:`from_env`.

    The fields are those of :data:`SETTINGS`, where each is described.
    """

    export_enabled: bool
    sdk_disabled: bool
    service_name: str
    environment: str
    prometheus_endpoint: tuple[str, int] | None
    service_version: str
    hostname: str
    resource_attributes: Pairs
    multiproc_dir: str
    app: str
    profile: str
    privacy: Privacy
    metrics_path: str
    metrics_token: str = field(repr=False)
    metrics_allow: Allow
    trusted_proxies: Allow
    sizes: tuple[int, ...]
    flush_timeout: float
    max_series: int
    traces_exporters: tuple[str, ...]
    metrics_exporters: tuple[str, ...]
    logs_exporters: tuple[str, ...]
    sampler: str
    sampler_argument: str
    propagators: tuple[str, ...]
    trust_incoming: TrustIncoming
    propagate_to: tuple[str, ...]
    semconv: Semconv
    excluded_urls: tuple[str, ...]
    capture_all_methods: bool
    capture_request_headers: tuple[str, ...]
    capture_response_headers: tuple[str, ...]
    sanitize_headers: tuple[str, ...]
    batch_size: int | None
    queue_size: int
    schedule_delay: int
    log_batch_size: int
    log_queue_size: int
    log_schedule_delay: int
    metric_interval: int
    metric_timeout: int
    temporality: Temporality
    max_attributes: int
    max_attribute_length: int | None
    max_span_attributes: int | None
    max_span_attribute_length: int | None
    max_span_events: int
    max_span_links: int
    max_event_attributes: int | None
    max_link_attributes: int | None
    hash_key: str = field(repr=False)
    probes_off: frozenset[str]
    server_timing: bool
    otlp: Mapping[Signal, Otlp]

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read and check every variable.

        Args:
            environ: such as ``os.environ``. An empty text counts as unset, as the OpenTelemetry
                specification has it, except where empty means "off".

        Raises:
            SettingsError: one message with a line for each fault.
        """
        faults = _unknown(environ)
        values = _parse(SETTINGS, environ, faults)
        shared = OTLP_SETTINGS[None]
        _parse(shared, environ, faults)
        parts = {signal: _parse(OTLP_SETTINGS[signal], environ, faults) for signal in SIGNALS}
        if not faults:
            faults += _contradictions(values, parts)
        if faults:
            raise SettingsError(*dict.fromkeys(faults))
        signals = {
            signal: otlp(signal, each, own_endpoint=bool(environ.get(_endpoint(signal))))
            for signal, each in parts.items()
        }
        return cls(**values, otlp=signals)


def variables() -> Iterator[Setting]:
    """Every variable that is read, for the reference and the doctor."""
    yield from SETTINGS.values()
    for table in OTLP_SETTINGS.values():
        yield from table.values()


def sdk_disabled(environ: Mapping[str, str]) -> bool:
    """Whether ``OTEL_SDK_DISABLED`` switches the layer off; looks at nothing else."""
    return raw_text(environ, SETTINGS["sdk_disabled"]).strip().lower() == "true"


def privacy_mode(environ: Mapping[str, str]) -> Privacy:
    """What ``AVATAR_TELEMETRY_PRIVACY`` says, ``strict`` where it says nothing that is allowed."""
    setting = SETTINGS["privacy"]
    try:
        mode: Privacy = setting.parse(raw_text(environ, setting))
    except ValueError:
        return "strict"
    return mode


def service_name(environ: Mapping[str, str]) -> str:
    """``service.name`` for processes whose settings nobody has checked yet."""
    setting = SETTINGS["service_name"]
    try:
        return str(setting.parse(raw_text(environ, setting)))
    except ValueError:
        return setting.default


def _endpoint(signal: Signal) -> str:
    return OTLP_SETTINGS[signal]["endpoint"].variable


def _parse(
    table: Mapping[str, Setting], environ: Mapping[str, str], faults: list[str]
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, setting in table.items():
        try:
            values[name] = setting.parse(raw_text(environ, setting))
        except (ValueError, KeyError) as error:
            why = f"; {error}" if isinstance(error, parsing.ExplainedError) else ""
            faults.append(_fault(environ, setting) + why)
    return values


def _contradictions(
    values: Mapping[str, Any], parts: Mapping[Signal, Mapping[str, Any]]
) -> Iterator[str]:
    """What is allowed alone and cannot be together."""
    argument = values["sampler_argument"]
    if values["sampler"].endswith("traceidratio") and argument:
        try:
            parsing.number(0, 1)(argument)
        except ValueError:
            setting = SETTINGS["sampler_argument"]
            yield f"{setting.variable}={argument[:SHOWN_VALUE]!r}: allowed is {setting.allowed}"
    for name in ("traces_exporters", "metrics_exporters", "logs_exporters"):
        if "none" in values[name] and len(values[name]) > 1:
            yield f"{SETTINGS[name].variable}: none stands alone"
    for signal, each in parts.items():
        if bool(each["client_key"]) != bool(each["client_certificate"]):
            key = OTLP_SETTINGS[signal]["client_key"]
            yield f"{key.alias}: a client certificate and its key go together"


def _fault(environ: Mapping[str, str], setting: Setting) -> str:
    variable = setting.variable if environ.get(setting.variable) else setting.alias
    text = raw_text(environ, setting)
    # A URL may hold a password, or a key in its query.
    hidden = setting.secret or "@" in text or ("://" in text and "?" in text)
    value = "(not shown)" if hidden else repr(text[:SHOWN_VALUE])
    return f"{variable or setting.variable}={value}: allowed is {setting.allowed}"


def _unknown(environ: Mapping[str, str]) -> list[str]:
    """A misspelt variable of ours would else be a setting that silently does nothing."""
    known = [s.variable for s in SETTINGS.values() if s.variable.startswith(OWN_PREFIX)]
    faults = []
    for variable in sorted(environ):
        if variable.startswith(OWN_PREFIX) and variable not in known:
            near = difflib.get_close_matches(variable, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            faults.append(f"{variable}: no such setting{hint}")
    return faults
