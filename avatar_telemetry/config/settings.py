"""The settings as one frozen value, built from a mapping. All faults are reported together.

settings = Settings.from_env(os.environ)
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from avatar_telemetry._base.errors import SettingsError
from avatar_telemetry.config import keeping, parsing
from avatar_telemetry.config.keeping import KeepRules
from avatar_telemetry.config.otlp import GRPC, OTLP_SETTINGS, SIGNALS, Otlp, Signal, otlp
from avatar_telemetry.config.parsing import Allow, Pairs
from avatar_telemetry.config.service_links import is_service_link
from avatar_telemetry.config.variable import Reading, Setting, describe_fault, raw_text, raw_texts

Privacy = Literal["strict", "balanced", "off"]
TrustIncoming = Literal["continue", "link", "ignore"]
Semconv = Literal["old", "stable", "both"]
Temporality = Literal["cumulative", "delta", "lowmemory"]
ExemplarFilter = Literal["trace_based", "always_on", "always_off"]
ExporterHost = Literal["auto", "process", "thread", "none"]

OWN_PREFIX = "AVATAR_TELEMETRY_"
DEFAULT_APP = "avatar_demo:application"
DEFAULT_PROFILE = "avatar_telemetry.profiles.ivatar:PROFILE"
DEFAULT_SIZES = "16,20,24,32,40,48,64,80,96,100,120,128,150,160,192,200,256,300,400,512"
PROBES = (
    "bottle", "django", "django_cache", "errors", "falcon", "generators", "httpclient", "httpx",
    "mysqlclient", "pillow", "psycopg", "psycopg2", "pylibmc", "pymemcache", "pymysql", "pyramid",
    "requests", "routing_args", "sqlalchemy", "sqlite3", "urllib", "urllib3", "werkzeug",
)  # fmt: skip
"""The names of probes in ``AVATAR_TELEMETRY_PROBES``."""

_TRUTH = "true or false (also yes, no, on, off, 1 or 0)"
_ADDRESSES = "networks such as 10.0.0.0/8, comma-separated"


# fmt: off
def _setting(
    variable: str, parse: Callable[[str], Any], default: str, allowed: str, meaning: str,
    **flags: Any,
) -> Any:
    """Declare a field and its variable; see :class:`Setting`."""
    setting = Setting(variable, parse, default, allowed, meaning, **flags)
    return field(repr=not setting.secret, metadata={"setting": setting})


def _count(
    variable: str, minimum: int, maximum: int, default: str, meaning: str, unit: str = "a number"
) -> Any:
    """Declare a field that is an integer within bounds."""
    return _setting(
        variable, parsing.count(minimum, maximum), default, f"{unit} from {minimum} to {maximum}",
        meaning, lenient=not variable.startswith(OWN_PREFIX),
    )


def _limit(variable: str, default: str, meaning: str) -> Any:
    """Declare a field that is a limit of the OpenTelemetry SDK."""
    return _setting(variable, parsing.limit, default, "a whole number", meaning, lenient=True)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of an operator. Build them with :meth:`from_env`.

    Each field declares its variable: the name, the parser, the default text, the valid texts, and
    the meaning for the reference.
    """

    export_enabled: bool = _setting(
        "OTEL_EXPORT_ENABLED", parsing.boolean, "false", _TRUTH,
        "Record spans and export over OTLP. Metrics and /metrics work without it.",
        alias="OTEL_ENABLED"
    )
    sdk_disabled: bool = _setting(
        "OTEL_SDK_DISABLED", parsing.truth, "false", "true or false",
        "Do not wrap the application: no spans, no metrics, no /metrics.", lenient=True
    )
    service_name: str = _setting(
        "OTEL_SERVICE_NAME", parsing.text, "ivatar", "printable text", "Name of the service."
    )
    environment: str = _setting(
        "OTEL_ENVIRONMENT", parsing.text, "development", "printable text",
        "deployment.environment and deployment.environment.name of the resource."
    )
    prometheus_endpoint: tuple[str, int] | None = _setting(
        "OTEL_PROMETHEUS_ENDPOINT", parsing.host_port, "", "host:port, or empty for none",
        "Separate port that serves the merged metrics.", empty=True
    )
    prometheus_host: str = _setting(
        "OTEL_EXPORTER_PROMETHEUS_HOST", parsing.host, "localhost", "a host name or an address",
        "Host of the separate port with OTEL_METRICS_EXPORTER=prometheus, where"
        " OTEL_PROMETHEUS_ENDPOINT is unset."
    )
    prometheus_port: int = _count(
        "OTEL_EXPORTER_PROMETHEUS_PORT", 1, 65_535, "9464",
        "Port for OTEL_EXPORTER_PROMETHEUS_HOST."
    )
    service_version: str = _setting(
        "IVATAR_VERSION", parsing.text, "2.0", "printable text", "service.version of the resource."
    )
    hostname: str = _setting(
        "HOSTNAME", parsing.hostname, "", "printable text",
        "service.instance.id of the resource; unset: the host's name."
    )
    resource_attributes: Pairs = _setting(
        "OTEL_RESOURCE_ATTRIBUTES", parsing.attributes, "", "key=value pairs, comma-separated",
        "Additional resource attributes; they override all but OTEL_SERVICE_NAME.", lenient=True
    )
    resource_detectors: tuple[str, ...] = _setting(
        "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", parsing.detectors, "",
        "installed detectors, comma-separated, or *",
        "Detectors whose attributes are added to the resource of spans and log records.",
        lenient=True
    )
    multiproc_dir: str = _setting(
        "PROMETHEUS_MULTIPROC_DIR", parsing.text, "", "a directory",
        "Runtime directory of the metric files; unset: a private one in memory."
    )
    app: str = _setting(
        OWN_PREFIX + "APP", parsing.application, DEFAULT_APP, "module:NAME or module:factory()",
        "Application that the repository's wsgi.py wraps, and avatar_telemetry.wsgi_app, which has"
        " no default."
    )
    profile: str = _setting(
        OWN_PREFIX + "PROFILE", parsing.profile, DEFAULT_PROFILE,
        ", ".join(parsing.PROFILES) + " or module:NAME",
        "Profile of the application: its routes, labels and caches."
    )
    privacy: Privacy = _setting(
        OWN_PREFIX + "PRIVACY", parsing.one_of("strict", "balanced", "off"), "balanced",
        "strict, balanced or off", "How much client data telemetry may contain."
    )
    metrics_path: str = _setting(
        OWN_PREFIX + "METRICS_PATH", parsing.path, "/metrics", "a path, or empty for off",
        "Path of the merged metrics.", empty=True
    )
    metrics_token: str = _setting(
        OWN_PREFIX + "METRICS_TOKEN", parsing.token, "",
        "at least 8 letters, digits or ._~+/=- (RFC 6750)",
        "Bearer token that gives any caller access to the metrics.", secret=True
    )
    metrics_allow: Allow = _setting(
        OWN_PREFIX + "METRICS_ALLOW", parsing.allow, "127.0.0.0/8,::1,unix",
        _ADDRESSES + ", and the word unix",
        "Networks that may read the metrics without a token; empty: none.", empty=True
    )
    trusted_proxies: Allow = _setting(
        OWN_PREFIX + "TRUSTED_PROXIES", parsing.allow, "", _ADDRESSES + ", and the word unix",
        "Proxies trusted to report the client address."
    )
    sizes: tuple[int, ...] = _setting(
        OWN_PREFIX + "SIZES", parsing.sizes, DEFAULT_SIZES,
        "pixels from 1 to 65535, comma-separated",
        "Values of the size label; every other size becomes other."
    )
    flush_timeout: float = _setting(
        OWN_PREFIX + "FLUSH_TIMEOUT", parsing.number(0, 60), "3", "seconds from 0 to 60",
        "Maximum time that the end of the server waits until everything is sent, and a worker's"
        " exit for span processors of the application."
    )
    exporter: ExporterHost = _setting(
        OWN_PREFIX + "EXPORTER", parsing.one_of("auto", "process", "thread", "none"), "auto",
        "auto, process, thread or none",
        "Host of the exporter: a process of its own, a thread of one worker, or none; auto: a"
        " process under gunicorn, else a thread."
    )
    max_series: int = _count(
        OWN_PREFIX + "MAX_SERIES", 100, 1_000_000, "20000",
        "Maximum number of series of a worker; a histogram counts as one."
    )
    ring_size: int = _count(
        OWN_PREFIX + "RING_SIZE", 1 << 16, 1 << 30, "1048576",
        "Shared memory in which the spans of a worker wait for the exporter, and as much for its"
        " log records; when it is full, new ones are dropped and counted.", unit="bytes"
    )
    traces_exporters: tuple[str, ...] = _setting(
        "OTEL_TRACES_EXPORTER", parsing.name_list("otlp", "console", "none"), "otlp",
        "otlp, console, none, comma-separated", "Exporters of spans.", lenient=True
    )
    metrics_exporters: tuple[str, ...] = _setting(
        "OTEL_METRICS_EXPORTER", parsing.name_list("otlp", "console", "prometheus", "none"),
        "otlp", "otlp, console, prometheus, none, comma-separated",
        "Exporters of metrics in addition to /metrics; prometheus: the separate port.",
        lenient=True
    )
    logs_exporters: tuple[str, ...] = _setting(
        "OTEL_LOGS_EXPORTER", parsing.name_list("otlp", "console", "none"), "none",
        "otlp, console, none, comma-separated",
        "Exporters of the workers' log records of level WARNING and above.", lenient=True
    )
    sampler: str = _setting(
        "OTEL_TRACES_SAMPLER", parsing.sampler, "parentbased_always_on",
        ", ".join(parsing.SAMPLERS) + ", or an installed sampler",
        "Sampler that decides which traces are recorded.", lenient=True
    )
    sampler_argument: str = _setting(
        "OTEL_TRACES_SAMPLER_ARG", parsing.text, "", "a share from 0 to 1 for the ratio samplers",
        "Argument of the sampler.", lenient=True
    )
    keep: KeepRules | None = _setting(
        OWN_PREFIX + "KEEP", keeping.keep_rules, "", keeping.ALLOWED,
        "Record every request that the sampler samples, and export those that match a rule; unset:"
        " all."
    )
    propagators: tuple[str, ...] = _setting(
        "OTEL_PROPAGATORS", parsing.propagators, "tracecontext,baggage",
        "installed propagators, comma-separated, or none", "Headers that carry the trace context.",
        lenient=True
    )
    trust_incoming: TrustIncoming = _setting(
        OWN_PREFIX + "TRUST_INCOMING", parsing.one_of("continue", "link", "ignore"), "link",
        "continue, link or ignore",
        "Use of a caller's trace context: as the parent, as a link, or none."
    )
    propagate_to: tuple[str, ...] = _setting(
        OWN_PREFIX + "PROPAGATE_TO", parsing.hosts, "", "host names, comma-separated, or *",
        "Hosts (and their subdomains) to which our trace context is sent; empty: none."
    )
    semconv: Semconv = _setting(
        "OTEL_SEMCONV_STABILITY_OPT_IN", parsing.opt_in, "", "http, http/dup, comma-separated",
        "Names of the HTTP attributes: the old ones, the stable ones, or both."
    )
    excluded_urls: tuple[str, ...] = _setting(
        "OTEL_PYTHON_WSGI_EXCLUDED_URLS", parsing.patterns, "",
        "regular expressions, comma-separated", "Requests for which no span is created.",
        alias="OTEL_PYTHON_EXCLUDED_URLS"
    )
    capture_all_methods: bool = _setting(
        "OTEL_PYTHON_INSTRUMENTATION_HTTP_CAPTURE_ALL_METHODS", parsing.boolean, "false", _TRUTH,
        "Record an unknown method on the span and in its name, instead of _OTHER.", lenient=True
    )
    capture_request_headers: tuple[str, ...] = _setting(
        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST", parsing.patterns, "",
        "header names or regular expressions, comma-separated",
        "Request headers recorded on the span."
    )
    capture_response_headers: tuple[str, ...] = _setting(
        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_RESPONSE", parsing.patterns, "",
        "header names or regular expressions, comma-separated",
        "Response headers recorded on the span."
    )
    sanitize_headers: tuple[str, ...] = _setting(
        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS", parsing.patterns, "",
        "header names or regular expressions, comma-separated",
        "Captured headers whose value is replaced."
    )
    batch_size: int | None = _setting(
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", parsing.optional(parsing.count(1, 10_000)), "",
        "a number from 1 to 10000", "Maximum number of spans sent in one request; unset: 512.",
        lenient=True
    )
    queue_size: int = _count(
        "OTEL_BSP_MAX_QUEUE_SIZE", 1, 1_000_000, "2048",
        "Maximum number of ended spans in the ring of a worker; more are dropped and counted."
    )
    schedule_delay: int = _count(
        "OTEL_BSP_SCHEDULE_DELAY", 10, 600_000, "5000",
        "Maximum time that an ended span waits for its batch.", unit="milliseconds"
    )
    span_export_timeout: int = _count(
        "OTEL_BSP_EXPORT_TIMEOUT", 0, 3_600_000, "30000",
        "Timeout of a batch of spans, unless that of OTLP is shorter; 0: no additional limit.",
        unit="milliseconds"
    )
    log_batch_size: int = _count(
        "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", 1, 10_000, "512",
        "Maximum number of log records sent in one request."
    )
    log_queue_size: int = _count(
        "OTEL_BLRP_MAX_QUEUE_SIZE", 1, 1_000_000, "2048",
        "Maximum number of log records in the ring of a worker; more are dropped and counted."
    )
    log_schedule_delay: int = _count(
        "OTEL_BLRP_SCHEDULE_DELAY", 10, 600_000, "1000",
        "Maximum time that a log record waits for its batch.", unit="milliseconds"
    )
    log_export_timeout: int = _count(
        "OTEL_BLRP_EXPORT_TIMEOUT", 0, 3_600_000, "30000",
        "Timeout of a batch of log records, unless that of OTLP is shorter; 0: no additional"
        " limit.", unit="milliseconds"
    )
    metric_interval: int = _count(
        "OTEL_METRIC_EXPORT_INTERVAL", 100, 3_600_000, "60000",
        "Interval between two pushes of the metrics, and between two calls of observable"
        " instruments.", unit="milliseconds"
    )
    metric_timeout: int = _count(
        "OTEL_METRIC_EXPORT_TIMEOUT", 100, 3_600_000, "30000", "Timeout of a push of the metrics.",
        unit="milliseconds"
    )
    temporality: Temporality = _setting(
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
        parsing.one_of("cumulative", "delta", "lowmemory"), "cumulative",
        "cumulative, delta or lowmemory", "Temporality of counters: totals or increments.",
        lenient=True
    )
    exemplar_filter: ExemplarFilter = _setting(
        "OTEL_METRICS_EXEMPLAR_FILTER",
        parsing.one_of("trace_based", "always_on", "always_off"), "trace_based",
        "trace_based, always_on or always_off",
        "Requests that are named as exemplars: those whose trace is exported, all that have a trace"
        " id, or none.", lenient=True
    )
    max_attributes: int = _limit(
        "OTEL_ATTRIBUTE_COUNT_LIMIT", "128", "Attributes of a span, an event or a link."
    )
    max_attribute_length: int | None = _limit(
        "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "", "Characters of an attribute; unset: no limit."
    )
    max_span_attributes: int | None = _limit(
        "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "", "Attributes of a span."
    )
    max_span_attribute_length: int | None = _limit(
        "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "", "Characters of an attribute of a span."
    )
    max_span_events: int = _limit(
        "OTEL_SPAN_EVENT_COUNT_LIMIT", "128", "Events of a span."
    )
    max_span_links: int = _limit(
        "OTEL_SPAN_LINK_COUNT_LIMIT", "128", "Links of a span."
    )
    max_event_attributes: int | None = _limit(
        "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "", "Attributes of an event."
    )
    max_link_attributes: int | None = _limit(
        "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "", "Attributes of a link."
    )
    hash_key: str = _setting(
        OWN_PREFIX + "HASH_KEY", parsing.secret_key, "", "8 to 64 printable characters",
        "Key of the hashes that replace digests and addresses; unset: a new one at each start.",
        secret=True
    )
    probes_off: frozenset[str] = _setting(
        OWN_PREFIX + "PROBES", parsing.switched_off(*PROBES), "all",
        "all, none, or -NAME, comma-separated, of " + ", ".join(PROBES),
        "Probes to install or to disable."
    )
    disabled_instrumentations: frozenset[str] = _setting(
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", parsing.named_of(*PROBES), "",
        "names of instrumentations, comma-separated, or *",
        "Probes of the same names to disable; other names are ignored."
    )
    server_timing: bool = _setting(
        OWN_PREFIX + "SERVER_TIMING", parsing.boolean, "false", _TRUTH,
        "Send a Server-Timing header with the trace id and the duration."
    )
    slow_stack: float = _setting(
        OWN_PREFIX + "SLOW_STACK", parsing.duration(0.1, 3600), "0",
        "a duration from 100ms to 3600s such as 1s or 250ms, or 0 for off",
        "Record the stack of a request that runs for longer, again after twice and four times that"
        " time."
    )
    # fmt: on
    otlp: Mapping[Signal, Otlp]
    warnings: tuple[str, ...] = field(default=(), compare=False, repr=False)
    """A line for each ignored text."""
    corrected: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    """Variable with an ignored text -> the text used instead; empty: unset."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Parse and check every variable.

        Args:
            environ: a mapping such as ``os.environ``. An empty text counts as unset (OpenTelemetry
                specification), except where empty means "off".

        Raises:
            SettingsError: one message with a line for each fault.
        """
        settings, faults = cls.read(environ)
        if faults:
            raise SettingsError(*faults)
        return settings

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> tuple[Settings, list[str]]:
        """Parse every variable, and use the default for an invalid text.

        Returns:
            The settings, and a line for each fault.
        """
        reading = Reading(environ, _unknown(environ))
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
        """The variable that set the separate port."""
        exporters = (self.prometheus_host, self.prometheus_port)
        by_exporter = "prometheus" in self.metrics_exporters
        by_exporter = by_exporter and self.prometheus_endpoint == exporters
        return SETTINGS["prometheus_port" if by_exporter else "prometheus_endpoint"].variable


SETTINGS: Mapping[str, Setting] = {
    each.name: each.metadata["setting"] for each in fields(Settings) if "setting" in each.metadata
}
"""Every variable except those of :mod:`avatar_telemetry.config.otlp`, by field of the settings."""


def _within(otlp: Otlp, milliseconds: int) -> Otlp:
    """Limit the timeout of a batch to that of its processor; 0 is no limit (OpenTelemetry
    specification, Environment Variable Specification, "Timeout")."""
    limit = milliseconds / 1000
    return replace(otlp, timeout=min(otlp.timeout, limit)) if limit else otlp


def variables() -> Iterator[Setting]:
    """Yield every variable, for the reference and the doctor."""
    yield from SETTINGS.values()
    for table in OTLP_SETTINGS.values():
        yield from table.values()


def sdk_disabled(environ: Mapping[str, str]) -> bool:
    """Return whether ``OTEL_SDK_DISABLED`` is true, without parsing other variables."""
    return raw_text(environ, SETTINGS["sdk_disabled"]).strip().lower() == "true"


def privacy_mode(environ: Mapping[str, str]) -> Privacy:
    """Return ``AVATAR_TELEMETRY_PRIVACY``; ``strict`` for an invalid text."""
    setting = SETTINGS["privacy"]
    try:
        mode: Privacy = setting.parse(raw_text(environ, setting))
    except ValueError:
        return "strict"
    return mode


def service_name(environ: Mapping[str, str]) -> str:
    """Return ``service.name``, also for a process whose settings are not checked yet.

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


def _check_sampler_argument(values: dict[str, Any], reading: Reading) -> None:
    """Ignore an invalid argument of a ratio sampler (OpenTelemetry specification, Environment
    Variable Specification, ``OTEL_TRACES_SAMPLER_ARG``)."""
    argument = values["sampler_argument"]
    if values["sampler"].endswith("traceidratio") and argument:
        try:
            parsing.number(0, 1)(argument)
        except ValueError:
            setting = SETTINGS["sampler_argument"]
            values["sampler_argument"] = ""
            line = describe_fault(setting, setting.variable, argument)
            reading.ignore(line, setting.variable, "", "")


def _drop_empty_attributes(environ: Mapping[str, str], corrected: dict[str, str]) -> None:
    """Remove empty members, such as after a trailing comma: they are valid, but the SDK warns."""
    variable = SETTINGS["resource_attributes"].variable
    members = environ.get(variable, "").split(",")
    if len(members) > 1 and not all(map(str.strip, members)):
        corrected.setdefault(variable, ",".join(filter(str.strip, members)))


def _contradictions(
    environ: Mapping[str, str], parts: Mapping[Signal, Mapping[str, Any]]
) -> Iterator[str]:
    """Yield a fault for values that are valid alone but not together."""
    for signal in SIGNALS:
        pair = (OTLP_SETTINGS[signal]["client_key"], OTLP_SETTINGS[signal]["client_certificate"])
        named = [next(raw_texts(environ, each))[0] for each in pair]
        if any(named) and not all(named):
            yield f"{''.join(named)}: a client certificate and its key must both be set"
        target = parts[signal]["endpoint"]
        if target and "://" not in target and parts[signal]["protocol"] != GRPC:
            setting = OTLP_SETTINGS[signal]["endpoint"]
            variable, text = next(raw_texts(environ, setting))
            protocol = OTLP_SETTINGS[signal]["protocol"].alias
            yield (
                f"{describe_fault(setting, variable, text)};"
                f" write http://{target}, or set {protocol}={GRPC}"
            )


def _unwanted_none(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield a fault if the exporter is disabled but needed."""
    if values["exporter"] != "none" or values["sdk_disabled"]:
        return
    name = SETTINGS["exporter"].variable
    if values["export_enabled"]:
        yield f"{name}='none': nothing would be sent with OTEL_EXPORT_ENABLED=true"
    if values["prometheus_endpoint"] is not None:
        yield f"{name}='none': nothing would serve the separate port; unset it, or use auto"


def _unknown(environ: Mapping[str, str]) -> list[str]:
    """Return a fault for each unknown variable with our prefix, which is probably misspelt."""
    known = [s.variable for s in SETTINGS.values() if s.variable.startswith(OWN_PREFIX)]
    faults = []
    for variable in sorted(environ):
        if variable.startswith(OWN_PREFIX) and variable not in known:
            if is_service_link(variable, environ[variable]):
                continue
            near = difflib.get_close_matches(variable, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            faults.append(f"unknown variable {variable}{hint}")
    return faults
