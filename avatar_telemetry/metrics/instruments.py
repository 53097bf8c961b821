"""The instruments of the package: their names, labels and buckets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# Requests from a static redirect (3 ms) to a slow outside service (5 s and its timeout).
DURATION_BUCKETS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
# Statements from a lookup by key in memory to one that waits for a lock.
QUERY_BUCKETS = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0,
)  # fmt: skip
UPLOAD_BUCKETS = tuple(float(1 << power) for power in range(10, 27, 2))


@dataclass(frozen=True, slots=True)
class Instrument:
    """One metric of the package.

    Args:
        name: the name on the page, without the suffixes of the type.
        type: the Prometheus type.
        documentation: the help text.
        labels: the names of the labels.
        buckets: the upper bounds of a histogram, in its unit, without infinity.
        mode: the ``multiprocess_mode`` of prometheus_client, for gauges.
        folds: the labels with values that a client chooses, in the order in which the ceiling on
            series replaces them by ``other``. An instrument without them has no ceiling.
    """

    name: str
    type: Literal["counter", "gauge", "histogram"]
    documentation: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    mode: str = ""
    folds: tuple[str, ...] = ()

    @property
    def prefix(self) -> str:
        """The beginning of the names of its files."""
        return f"gauge_{self.mode}" if self.type == "gauge" else self.type


REQUESTS = Instrument(
    "ivatar_requests", "counter", "HTTP requests that ended.", ("method", "status_code", "path"),
    folds=("method", "path"),
)  # fmt: skip
DURATION = Instrument(
    "ivatar_request_duration_seconds", "histogram",
    "Seconds from the start of a request until the end of its response.",
    ("method", "status_code", "path"), DURATION_BUCKETS, folds=("method", "path"),
)  # fmt: skip
FIRST_BYTE = Instrument(
    "ivatar_request_first_byte_seconds", "histogram",
    "Seconds from the start of a request until the first byte of its response.",
    ("path",), DURATION_BUCKETS, folds=("path",),
)  # fmt: skip
IN_PROGRESS = Instrument(
    "ivatar_requests_in_progress", "gauge", "Requests between start and finish.", mode="livesum"
)
AVATAR_REQUESTS = Instrument(
    "ivatar_avatar_requests", "counter", "Requests for an avatar.",
    ("status_code", "size", "format"), folds=("size", "format"),
)  # fmt: skip
GENERATION = Instrument(
    "ivatar_avatar_generation_seconds", "histogram",
    "Seconds until the first byte of an avatar that was made, not taken from the cache.",
    ("format", "source"), DURATION_BUCKETS,
)  # fmt: skip
GENERATED = Instrument(
    "ivatar_avatars_generated", "counter", "Avatars that were made, not taken from the cache.",
    ("size", "format", "source"), folds=("size", "format"),
)  # fmt: skip
CACHE_HITS = Instrument(
    "ivatar_avatar_cache_hits", "counter", "Lookups that hit the avatar cache.",
    ("size", "format"), folds=("size", "format"),
)  # fmt: skip
CACHE_MISSES = Instrument(
    "ivatar_avatar_cache_misses", "counter", "Lookups that missed the avatar cache.",
    ("size", "format"), folds=("size", "format"),
)  # fmt: skip
EXTERNAL_REQUESTS = Instrument(
    "ivatar_external_avatar_requests", "counter",
    "Calls of outside services in requests for an avatar.", ("service", "success"),
)  # fmt: skip
EXTERNAL_DURATION = Instrument(
    "ivatar_external_avatar_request_seconds", "histogram",
    "Seconds until the response of an outside service, in requests for an avatar.",
    ("service",), DURATION_BUCKETS,
)  # fmt: skip
OUTSIDE_REQUESTS = Instrument(
    "ivatar_external_requests", "counter",
    "Calls of outside services in requests for other pages than avatars.", ("service", "success"),
)  # fmt: skip
OUTSIDE_DURATION = Instrument(
    "ivatar_external_request_seconds", "histogram",
    "Seconds until the response of an outside service, in requests for other pages than avatars.",
    ("service",), DURATION_BUCKETS,
)  # fmt: skip
UPLOADS = Instrument(
    "ivatar_file_uploads", "counter", "Upload requests with a file that ended.",
    ("content_type", "success"),
)  # fmt: skip
IMPORTS = Instrument(
    "ivatar_imports", "counter", "Attempts to import photos from elsewhere.",
    ("operation", "success"),
)  # fmt: skip
UPLOAD_SIZE = Instrument(
    "ivatar_file_upload_size_bytes", "histogram", "Bytes of an uploaded file.",
    ("content_type",), UPLOAD_BUCKETS,
)  # fmt: skip
AUTH_ATTEMPTS = Instrument(
    "ivatar_auth_attempts", "counter", "Attempts to authenticate.", ("operation", "success")
)
DB_QUERIES = Instrument(
    "ivatar_db_queries", "counter", "SQL statements run inside a request.", ("system", "operation")
)
DB_DURATION = Instrument(
    "ivatar_db_query_seconds", "histogram", "Seconds that an SQL statement took.",
    ("system", "operation"), QUERY_BUCKETS,
)  # fmt: skip
INTERNAL_ERRORS = Instrument(
    "avatar_telemetry_internal_errors", "counter",
    "Internal errors of the telemetry; requests were not affected.", ("where",),
)  # fmt: skip
SERIES_REFUSED = Instrument(
    "avatar_telemetry_series_refused", "counter",
    "Combinations of label values beyond the ceiling, counted as other instead.", ("metric",),
)  # fmt: skip
SPANS = Instrument("avatar_telemetry_spans", "counter", "Spans that ended, by result.", ("result",))
LOG_RECORDS = Instrument(
    "avatar_telemetry_log_records", "counter",
    "Log records to be exported, by result.", ("result",),
)  # fmt: skip
REQUESTS_KEPT = Instrument(
    "avatar_telemetry_requests_kept", "counter",
    "Recorded requests whose spans are exported, by the rule that keeps them.", ("rule",),
)  # fmt: skip
REQUESTS_DROPPED = Instrument(
    "avatar_telemetry_requests_dropped", "counter",
    "Recorded requests whose spans are not exported, by reason.", ("reason",),
)  # fmt: skip
METRIC_PUSHES = Instrument(
    "avatar_telemetry_metric_pushes", "counter",
    "Pushes of the merged metrics by the exporter.", ("result",),
)  # fmt: skip

INSTRUMENTS = (
    REQUESTS, DURATION, FIRST_BYTE, IN_PROGRESS, AVATAR_REQUESTS, GENERATION, GENERATED, CACHE_HITS,
    CACHE_MISSES, EXTERNAL_REQUESTS, EXTERNAL_DURATION, OUTSIDE_REQUESTS, OUTSIDE_DURATION,
    UPLOADS, UPLOAD_SIZE, IMPORTS, AUTH_ATTEMPTS, DB_QUERIES,
    DB_DURATION, INTERNAL_ERRORS, SERIES_REFUSED, METRIC_PUSHES, SPANS, LOG_RECORDS,
    REQUESTS_KEPT, REQUESTS_DROPPED,
)  # fmt: skip
