"""Every variable that is read, but those of :mod:`avatar_telemetry.config.otlp`."""

from __future__ import annotations

from collections.abc import Mapping

from avatar_telemetry.config import parsing
from avatar_telemetry.config.variable import Setting

OWN_PREFIX = "AVATAR_TELEMETRY_"
DEFAULT_APP = "avatar_demo:application"
DEFAULT_PROFILE = "avatar_telemetry.profiles.ivatar:PROFILE"
DEFAULT_SIZES = "16,20,24,32,40,48,64,80,96,100,120,128,150,160,192,200,256,300,400,512"
PROBES = (
    "django", "django_cache", "errors", "generators", "httpclient", "httpx", "mysqlclient",
    "pillow", "psycopg", "psycopg2", "pylibmc", "pymemcache", "pymysql", "requests", "sqlalchemy",
    "sqlite3", "urllib", "urllib3",
)  # fmt: skip
"""The probes that ``AVATAR_TELEMETRY_PROBES`` can turn off, by name."""

_TRUTH = "true or false (also yes, no, on, off, 1 or 0)"
_MODULE_NAME = "module:NAME"
_ADDRESSES = "networks such as 10.0.0.0/8, comma-separated"


def _count(
    variable: str, least: int, most: int, default: str, meaning: str, unit: str = "a number"
) -> Setting:
    """A variable whose value is a whole number within bounds."""
    allowed = f"{unit} from {least} to {most}"
    return Setting(
        variable, parsing.count(least, most), default, allowed, meaning,
        lenient=not variable.startswith(OWN_PREFIX),
    )  # fmt: skip


SETTINGS: Mapping[str, Setting] = {
    "export_enabled": Setting(
        "OTEL_EXPORT_ENABLED", parsing.boolean, "false", _TRUTH,
        "Record spans and export over OTLP. Metrics and /metrics work without it.",
        alias="OTEL_ENABLED",
    ),
    "sdk_disabled": Setting(
        "OTEL_SDK_DISABLED", parsing.truth, "false", "true or false",
        "Leave the application untouched: no spans, no metrics, no /metrics.", lenient=True,
    ),
    "service_name": Setting(
        "OTEL_SERVICE_NAME", parsing.text, "ivatar", "printable text", "Name of the service."
    ),
    "environment": Setting(
        "OTEL_ENVIRONMENT", parsing.text, "development", "printable text",
        "deployment.environment and deployment.environment.name of the resource.",
    ),
    "prometheus_endpoint": Setting(
        "OTEL_PROMETHEUS_ENDPOINT", parsing.host_port, "", "host:port, or empty for none",
        "Separate port that serves the merged metrics.", empty=True,
    ),
    "prometheus_host": Setting(
        "OTEL_EXPORTER_PROMETHEUS_HOST", parsing.host, "localhost", "a host name or an address",
        "Host of the separate port with OTEL_METRICS_EXPORTER=prometheus, where"
        " OTEL_PROMETHEUS_ENDPOINT is unset.",
    ),
    "prometheus_port": _count(
        "OTEL_EXPORTER_PROMETHEUS_PORT", 1, 65_535, "9464", "Its port."
    ),
    "service_version": Setting(
        "IVATAR_VERSION", parsing.text, "2.0", "printable text", "service.version of the resource."
    ),
    "hostname": Setting(
        "HOSTNAME", parsing.hostname, "", "printable text",
        "service.instance.id of the resource; unset: the host's name.",
    ),
    "resource_attributes": Setting(
        "OTEL_RESOURCE_ATTRIBUTES", parsing.attributes, "", "key=value pairs, comma-separated",
        "More resource attributes; they win over all but OTEL_SERVICE_NAME.", lenient=True,
    ),
    "resource_detectors": Setting(
        "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", parsing.detectors, "",
        "installed detectors, comma-separated, or *",
        "What adds to the resource of spans and log records.", lenient=True,
    ),
    "multiproc_dir": Setting(
        "PROMETHEUS_MULTIPROC_DIR", parsing.text, "", "a folder",
        "Runtime folder of the metric files; unset: a private one in memory.",
    ),
    "app": Setting(
        OWN_PREFIX + "APP", parsing.application, DEFAULT_APP,
        "module:NAME or module:factory()",
        "Application that the repository's wsgi.py wraps.",
    ),
    "profile": Setting(
        OWN_PREFIX + "PROFILE", parsing.reference, DEFAULT_PROFILE, _MODULE_NAME,
        "What the layer knows about the application.",
    ),
    "privacy": Setting(
        OWN_PREFIX + "PRIVACY", parsing.one_of("strict", "balanced", "off"), "balanced",
        "strict, balanced or off", "What of a client may leave the process.",
    ),
    "metrics_path": Setting(
        OWN_PREFIX + "METRICS_PATH", parsing.path, "/metrics", "a path, or empty for off",
        "Path of the merged metrics.", empty=True,
    ),
    "metrics_token": Setting(
        OWN_PREFIX + "METRICS_TOKEN", parsing.token, "",
        "at least 8 letters, digits or ._~+/=- (RFC 6750)",
        "Bearer token that opens the metrics to any caller.", secret=True,
    ),
    "metrics_allow": Setting(
        OWN_PREFIX + "METRICS_ALLOW", parsing.allow, "127.0.0.0/8,::1,unix",
        _ADDRESSES + ", and the word unix",
        "Who may read the metrics without a token; empty: nobody.", empty=True,
    ),
    "trusted_proxies": Setting(
        OWN_PREFIX + "TRUSTED_PROXIES", parsing.allow, "", _ADDRESSES + ", and the word unix",
        "Proxies whose word about the client's address is taken.",
    ),
    "sizes": Setting(
        OWN_PREFIX + "SIZES", parsing.sizes, DEFAULT_SIZES,
        "pixels from 1 to 65535, comma-separated",
        "Values of the size label; all others become other.",
    ),
    "flush_timeout": Setting(
        OWN_PREFIX + "FLUSH_TIMEOUT", parsing.number(0, 60), "3", "seconds from 0 to 60",
        "How long the end of the server waits until everything is sent, and a worker's exit for"
        " span processors of the application.",
    ),
    "exporter": Setting(
        OWN_PREFIX + "EXPORTER", parsing.one_of("auto", "process", "thread", "none"), "auto",
        "auto, process, thread or none",
        "Where the exporter runs: a process of its own, a thread of one worker, or not at all;"
        " auto: a process under gunicorn, else a thread.",
    ),
    "max_series": _count(
        OWN_PREFIX + "MAX_SERIES", 100, 1_000_000, "20000",
        "Ceiling on the series of a worker; a histogram is one.",
    ),
    "ring_size": _count(
        OWN_PREFIX + "RING_SIZE", 1 << 16, 1 << 30, "1048576",
        "Shared memory in which the spans of a worker wait for the exporter, and as much for its"
        " log records; when it is full, the newest are dropped and counted.", unit="bytes",
    ),
    "traces_exporters": Setting(
        "OTEL_TRACES_EXPORTER", parsing.words("otlp", "console", "none"), "otlp",
        "otlp, console, none, comma-separated", "Where spans go.", lenient=True,
    ),
    "metrics_exporters": Setting(
        "OTEL_METRICS_EXPORTER", parsing.words("otlp", "console", "prometheus", "none"), "otlp",
        "otlp, console, prometheus, none, comma-separated",
        "Where the metrics go beside /metrics; prometheus: the separate port.", lenient=True,
    ),
    "logs_exporters": Setting(
        "OTEL_LOGS_EXPORTER", parsing.words("otlp", "console", "none"), "none",
        "otlp, console, none, comma-separated",
        "Where log records of level WARNING and above, made in a worker, go.", lenient=True,
    ),
    "sampler": Setting(
        "OTEL_TRACES_SAMPLER", parsing.sampler, "parentbased_always_on",
        ", ".join(parsing.SAMPLERS) + ", or an installed sampler", "Which traces are recorded.",
        lenient=True,
    ),
    "sampler_argument": Setting(
        "OTEL_TRACES_SAMPLER_ARG", parsing.text, "", "a share from 0 to 1 for the ratio samplers",
        "Argument of the sampler.", lenient=True,
    ),
    "propagators": Setting(
        "OTEL_PROPAGATORS", parsing.propagators, "tracecontext,baggage",
        "installed propagators, comma-separated, or none",
        "Which headers carry the trace context.", lenient=True,
    ),
    "trust_incoming": Setting(
        OWN_PREFIX + "TRUST_INCOMING", parsing.one_of("continue", "link", "ignore"), "link",
        "continue, link or ignore", "What a caller's trace context is to ours.",
    ),
    "propagate_to": Setting(
        OWN_PREFIX + "PROPAGATE_TO", parsing.hosts, "", "host names, comma-separated, or *",
        "Hosts (and their subdomains) that are sent our trace context; empty: none.",
    ),
    "semconv": Setting(
        "OTEL_SEMCONV_STABILITY_OPT_IN", parsing.opt_in, "", "http, http/dup, comma-separated",
        "Names of the HTTP attributes: the old ones, the stable ones, or both.",
    ),
    "excluded_urls": Setting(
        "OTEL_PYTHON_WSGI_EXCLUDED_URLS", parsing.patterns, "",
        "regular expressions, comma-separated", "Requests of which no span is made.",
        alias="OTEL_PYTHON_EXCLUDED_URLS",
    ),
    "capture_all_methods": Setting(
        "OTEL_PYTHON_INSTRUMENTATION_HTTP_CAPTURE_ALL_METHODS", parsing.boolean, "false", _TRUTH,
        "Put a method that is not known on the span and into its name, instead of _OTHER.",
        lenient=True,
    ),
    "capture_request_headers": Setting(
        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST", parsing.patterns, "",
        "header names or regular expressions, comma-separated", "Request headers put on the span.",
    ),
    "capture_response_headers": Setting(
        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_RESPONSE", parsing.patterns, "",
        "header names or regular expressions, comma-separated", "Response headers put on the span.",
    ),
    "sanitize_headers": Setting(
        "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS", parsing.patterns, "",
        "header names or regular expressions, comma-separated",
        "Captured headers whose value is replaced.",
    ),
    "batch_size": Setting(
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", parsing.optional(parsing.count(1, 10_000)), "",
        "a number from 1 to 10000", "Spans sent at once; unset: 512.", lenient=True,
    ),
    "queue_size": _count(
        "OTEL_BSP_MAX_QUEUE_SIZE", 1, 1_000_000, "2048",
        "Ended spans that the ring of a worker holds; more are dropped and counted.",
    ),
    "schedule_delay": _count(
        "OTEL_BSP_SCHEDULE_DELAY", 10, 600_000, "5000",
        "How long a finished span may wait for its batch.", unit="milliseconds",
    ),
    "span_export_timeout": _count(
        "OTEL_BSP_EXPORT_TIMEOUT", 0, 3_600_000, "30000",
        "Time for a batch of spans, if that of OTLP is not shorter; 0: no limit of its own.",
        unit="milliseconds",
    ),
    "log_batch_size": _count(
        "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", 1, 10_000, "512",
        "Log records sent at once.",
    ),
    "log_queue_size": _count(
        "OTEL_BLRP_MAX_QUEUE_SIZE", 1, 1_000_000, "2048",
        "Log records that the ring of a worker holds; more are dropped and counted.",
    ),
    "log_schedule_delay": _count(
        "OTEL_BLRP_SCHEDULE_DELAY", 10, 600_000, "1000",
        "How long a log record may wait for its batch.", unit="milliseconds",
    ),
    "log_export_timeout": _count(
        "OTEL_BLRP_EXPORT_TIMEOUT", 0, 3_600_000, "30000",
        "Time for a batch of log records, if that of OTLP is not shorter; 0: no limit of its own.",
        unit="milliseconds",
    ),
    "metric_interval": _count(
        "OTEL_METRIC_EXPORT_INTERVAL", 100, 3_600_000, "60000",
        "Time between two pushes of the metrics, and two calls of observable instruments.",
        unit="milliseconds",
    ),
    "metric_timeout": _count(
        "OTEL_METRIC_EXPORT_TIMEOUT", 100, 3_600_000, "30000",
        "How long a push of the metrics may take.", unit="milliseconds",
    ),
    "temporality": Setting(
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
        parsing.one_of("cumulative", "delta", "lowmemory"), "cumulative",
        "cumulative, delta or lowmemory", "Whether counters are sent as totals or as increments.",
        lenient=True,
    ),
    **{
        field_name: Setting(
            variable, parsing.limit, default, "a whole number", meaning + ".", lenient=True
        )
        for field_name, variable, default, meaning in (
            ("max_attributes", "OTEL_ATTRIBUTE_COUNT_LIMIT", "128", "Attributes of anything"),
            ("max_attribute_length", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "",
             "Characters of an attribute; unset: no limit"),
            ("max_span_attributes", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "", "Attributes of a span"),
            ("max_span_attribute_length", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "",
             "Characters of an attribute of a span"),
            ("max_span_events", "OTEL_SPAN_EVENT_COUNT_LIMIT", "128", "Events of a span"),
            ("max_span_links", "OTEL_SPAN_LINK_COUNT_LIMIT", "128", "Links of a span"),
            ("max_event_attributes", "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "",
             "Attributes of an event"),
            ("max_link_attributes", "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "",
             "Attributes of a link"),
        )
    },
    "hash_key": Setting(
        OWN_PREFIX + "HASH_KEY", parsing.secret_key, "", "8 to 64 printable characters",
        "Key of the hashes that stand for digests and addresses; unset: a new one each start.",
        secret=True,
    ),
    "probes_off": Setting(
        OWN_PREFIX + "PROBES", parsing.switched_off(*PROBES), "all",
        "all, none, or -NAME, comma-separated, of " + ", ".join(PROBES), "Probes to leave out.",
    ),
    "disabled_instrumentations": Setting(
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", parsing.named_of(*PROBES), "",
        "names of instrumentations, comma-separated, or *",
        "Probes of the same names to leave out; other names are ignored.",
    ),
    "server_timing": Setting(
        OWN_PREFIX + "SERVER_TIMING", parsing.boolean, "false", _TRUTH,
        "Send a Server-Timing header with trace id and duration.",
    ),
}  # fmt: skip
