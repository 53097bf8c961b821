"""The settings: one frozen value, built once from a mapping, every fault told at once.

settings = Settings.from_env(os.environ)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from avatar_telemetry.config import parsing
from avatar_telemetry.config.otlp import GRPC, OTLP_SETTINGS, SIGNALS, Otlp, Signal, otlp
from avatar_telemetry.config.parsing import Allow, Pairs
from avatar_telemetry.config.service_links import is_service_link
from avatar_telemetry.config.settings_table import OWN_PREFIX, SETTINGS
from avatar_telemetry.config.variable import Setting, raw_text, raw_texts
from avatar_telemetry.errors import SettingsError

Privacy = Literal["strict", "balanced", "off"]
TrustIncoming = Literal["continue", "link", "ignore"]
Semconv = Literal["old", "stable", "both"]
Temporality = Literal["cumulative", "delta", "lowmemory"]
ExporterHost = Literal["auto", "process", "thread", "none"]

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
    prometheus_host: str
    prometheus_port: int
    service_version: str
    hostname: str
    resource_attributes: Pairs
    resource_detectors: tuple[str, ...]
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
    exporter: ExporterHost
    max_series: int
    ring_size: int
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
    span_export_timeout: int
    log_batch_size: int
    log_queue_size: int
    log_schedule_delay: int
    log_export_timeout: int
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
    disabled_instrumentations: frozenset[str]
    server_timing: bool
    otlp: Mapping[Signal, Otlp]
    warnings: tuple[str, ...] = field(default=(), compare=False, repr=False)
    """A line for each text that was ignored."""
    corrected: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    """By variable the text that is used instead of an ignored one; empty: none."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read and check every variable.

        Args:
            environ: such as ``os.environ``. An empty text counts as unset, as the OpenTelemetry
                specification has it, except where empty means "off".

        Raises:
            SettingsError: one message with a line for each fault.
        """
        settings, faults = cls.read(environ)
        if faults:
            raise SettingsError(*faults)
        return settings

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> tuple[Settings, list[str]]:
        """Read every variable, with the default where one is at fault.

        Returns:
            The settings, and a line for each fault.
        """
        reading = _Reading(environ, _unknown(environ))
        values = reading.table(SETTINGS)
        reading.table(OTLP_SETTINGS[None])
        parts = {signal: reading.table(OTLP_SETTINGS[signal]) for signal in SIGNALS}
        _check_sampler_argument(values, reading)
        values["service_name"] = service_name(environ)
        _drop_empty_attributes(environ, reading.corrected)
        reading.faults += _contradictions(environ, parts)
        signals = {
            signal: otlp(signal, each, own_endpoint=bool(environ.get(_endpoint(signal))))
            for signal, each in parts.items()
        }
        values["probes_off"] |= values["disabled_instrumentations"]
        if "prometheus" in values["metrics_exporters"] and values["prometheus_endpoint"] is None:
            values["prometheus_endpoint"] = (values["prometheus_host"], values["prometheus_port"])
        reading.faults += _unwanted_none(values)
        signals["traces"] = _within(signals["traces"], values["span_export_timeout"])
        signals["logs"] = _within(signals["logs"], values["log_export_timeout"])
        settings = cls(
            **values,
            otlp=signals,
            warnings=tuple(dict.fromkeys(reading.warnings)),
            corrected=reading.corrected,
        )
        return settings, list(dict.fromkeys(reading.faults))

    @property
    def port_variable(self) -> str:
        """The variable that the separate port is from."""
        exporters = (self.prometheus_host, self.prometheus_port)
        by_exporter = "prometheus" in self.metrics_exporters
        by_exporter = by_exporter and self.prometheus_endpoint == exporters
        return SETTINGS["prometheus_port" if by_exporter else "prometheus_endpoint"].variable


def _within(otlp: Otlp, milliseconds: int) -> Otlp:
    """Limit a batch by the timeout of its processor; 0 is no limit (OpenTelemetry specification,
    Environment Variable Specification, "Timeout")."""
    limit = milliseconds / 1000
    return replace(otlp, timeout=min(otlp.timeout, limit)) if limit else otlp


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
    """``service.name``, also for processes whose settings have not been checked yet.

    ``OTEL_SERVICE_NAME`` takes precedence over ``OTEL_RESOURCE_ATTRIBUTES`` (OpenTelemetry
    specification, Environment Variable Specification, "General SDK Configuration").
    """
    setting = SETTINGS["service_name"]
    variable, name = next(raw_texts(environ, setting))
    if not variable:
        return dict(_attributes(environ)).get("service.name") or setting.default
    try:
        return str(setting.parse(name))
    except ValueError:
        return setting.default


def _attributes(environ: Mapping[str, str]) -> Pairs:
    setting = SETTINGS["resource_attributes"]
    try:
        pairs: Pairs = setting.parse(raw_text(environ, setting))
    except ValueError:
        return ()
    return pairs


def _endpoint(signal: Signal) -> str:
    return OTLP_SETTINGS[signal]["endpoint"].variable


class _Reading:
    """Parse variables, and collect a line for each text that is not allowed.

    Args:
        environ: the texts.
        faults: found so far.
    """

    def __init__(self, environ: Mapping[str, str], faults: list[str]) -> None:
        self.faults = faults
        self.warnings: list[str] = []
        self.corrected: dict[str, str] = {}
        self._environ = environ

    def table(self, table: Mapping[str, Setting]) -> dict[str, Any]:
        """Parse all variables of a table."""
        return {name: self._value(setting) for name, setting in table.items()}

    def ignore(self, fault: str, variable: str, source: str, text: str) -> None:
        """Note that a text is ignored.

        Args:
            fault: the line about it.
            variable: the variable that has the text.
            source: the variable that is used instead; empty for the default.
            text: the text that is used instead.
        """
        used = f"{text!r} of {source}" if source else f"the default {text!r}" if text else ""
        self.warnings.append(f"{fault}; {f'{used} is used' if used else 'it counts as unset'}")
        # Another variable is read by others, too; the default of this package may not be theirs.
        self.corrected[variable] = text if source == variable else ""

    def _value(self, setting: Setting) -> Any:
        refused: dict[str, str] = {}
        value: Any = None
        for variable, text in raw_texts(self._environ, setting):
            try:
                value = setting.parse(text)
                break
            except parsing.UnknownWordsError as error:
                refused[variable] = _fault(setting, variable, text)
                if error.known:
                    value, text = error.known, ",".join(error.known)
                    break
            except (ValueError, KeyError) as error:
                why = f"; {error}" if isinstance(error, parsing.ExplainedError) else ""
                refused[variable] = _fault(setting, variable, text) + why
        if not setting.lenient:
            self.faults += refused.values()
        else:
            for name, fault in refused.items():
                self.ignore(fault, name, variable, text)
        return value


def _check_sampler_argument(values: dict[str, Any], reading: _Reading) -> None:
    """Ignore an argument that a ratio sampler cannot use (OpenTelemetry specification, Environment
    Variable Specification, ``OTEL_TRACES_SAMPLER_ARG``)."""
    argument = values["sampler_argument"]
    if values["sampler"].endswith("traceidratio") and argument:
        try:
            parsing.number(0, 1)(argument)
        except ValueError:
            setting = SETTINGS["sampler_argument"]
            values["sampler_argument"] = ""
            reading.ignore(_fault(setting, setting.variable, argument), setting.variable, "", "")


def _drop_empty_attributes(environ: Mapping[str, str], corrected: dict[str, str]) -> None:
    """Members without a character (a comma at the end) are allowed; the SDK warns of each."""
    variable = SETTINGS["resource_attributes"].variable
    members = environ.get(variable, "").split(",")
    if len(members) > 1 and not all(map(str.strip, members)):
        corrected.setdefault(variable, ",".join(filter(str.strip, members)))


def _contradictions(
    environ: Mapping[str, str], parts: Mapping[Signal, Mapping[str, Any]]
) -> Iterator[str]:
    """Yield a fault for values that are allowed alone but not together."""
    for signal in SIGNALS:
        pair = (OTLP_SETTINGS[signal]["client_key"], OTLP_SETTINGS[signal]["client_certificate"])
        named = [next(raw_texts(environ, each))[0] for each in pair]
        if any(named) and not all(named):
            yield f"{''.join(named)}: a client certificate and its key go together"
        target = parts[signal]["endpoint"]
        if target and "://" not in target and parts[signal]["protocol"] != GRPC:
            setting = OTLP_SETTINGS[signal]["endpoint"]
            variable, text = next(raw_texts(environ, setting))
            protocol = OTLP_SETTINGS[signal]["protocol"].alias
            yield (
                f"{_fault(setting, variable, text)};"
                f" write http://{target}, or set {protocol}={GRPC}"
            )


def _unwanted_none(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield a fault where there is to be no exporter but something for it to do."""
    if values["exporter"] != "none" or values["sdk_disabled"]:
        return
    name = SETTINGS["exporter"].variable
    if values["export_enabled"]:
        yield f"{name}='none': nothing would be sent with OTEL_EXPORT_ENABLED=true"
    if values["prometheus_endpoint"] is not None:
        yield f"{name}='none': nothing would serve the separate port; unset it, or use auto"


def _fault(setting: Setting, variable: str, text: str) -> str:
    # A URL may hold a password, or a key in its query.
    hidden = setting.secret or "@" in text or ("://" in text and "?" in text)
    value = "(not shown)" if hidden else repr(text[:SHOWN_VALUE])
    return f"{variable}={value}: allowed is {setting.allowed}"


def _unknown(environ: Mapping[str, str]) -> list[str]:
    """A misspelt variable of ours would else be a setting that silently does nothing."""
    known = [s.variable for s in SETTINGS.values() if s.variable.startswith(OWN_PREFIX)]
    faults = []
    for variable in sorted(environ):
        if variable.startswith(OWN_PREFIX) and variable not in known:
            if is_service_link(variable, environ[variable]):
                continue
            near = difflib.get_close_matches(variable, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            faults.append(f"{variable}: no such setting{hint}")
    return faults
