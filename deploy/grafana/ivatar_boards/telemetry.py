"""The dashboard of the telemetry itself: losses, errors and cost."""

from ivatar_boards.limits import Limits, of_alert
from ivatar_boards.spec import SELECT, Board, Help, Panel, Query, Row, rate, share

SPANS = "avatar_telemetry_spans_total"
RECORDS = "avatar_telemetry_log_records_total"
PUSHES = "avatar_telemetry_metric_pushes_total"
ERRORS = "avatar_telemetry_internal_errors_total"
REFUSED = "avatar_telemetry_series_refused_total"
LOST = 'result=~"dropped|failed"'
# A missing series means that nothing was counted yet; slots_in_use lists all servers.
NONE = f"0 * sum by (instance) (avatar_telemetry_slots_in_use{{{SELECT}}})"
SCRAPE_TIME = Limits(10, 5)
"""Seconds; 10 is ``scrape_timeout`` of ``deploy/prometheus/prometheus.yml``."""


BOARD = Board(
    "ivatar-telemetry", "Avatar server: the telemetry itself", "Losses, refusals and errors.",
    (
        Row("At a glance", (
            Panel("Spans lost", (Query(share(SPANS, LOST)),), "percentunit",
                  Help("Share of the spans that do not reach the collector.",
                       "0.",
                       "See Lost spans: dropped is a full ring, failed a collector that refuses."),
                  of_alert("TelemetrySpansLost"), "number", 4),
            Panel("Log records lost", (Query(f"{share(RECORDS, LOST)} or vector(0)"),),
                  "percentunit",
                  Help("Share of the exported warnings and errors that do not reach the "
                       "collector.",
                       "0.",
                       "They are still in the server's own log; see Log records by result."),
                  of_alert("TelemetryLogsLost"), "number", 4),
            Panel("Pushes that fail", (Query(share(PUSHES, 'result="failed"')),), "percentunit",
                  Help("Share of the pushes of metrics that fail.",
                       "0.",
                       "The next push has the totals. Check OTEL_EXPORTER_OTLP_ENDPOINT and the "
                       "collector."),
                  of_alert("TelemetryPushesFail"), "number", 4),
            Panel("Hosts without an exporter", (Query(
                f"count(avatar_telemetry_exporter_up{{{SELECT}}} == 0) or vector(0)"),), "short",
                Help("Hosts on which no exporter runs though their settings need one.",
                     "0.",
                     "Nothing is sent there: search the server's log for exporter."),
                Limits(1, 0.5), "number", 4),
            Panel("Internal errors", (Query(
                f"sum (increase({ERRORS}{{{SELECT}}}[$__range])) or vector(0)"),), "short",
                Help("Internal errors of the telemetry in the selected time; requests were not "
                     "affected.",
                     "0.",
                     "See Internal errors by place, and the server's log."),
                of_alert("TelemetryInternalErrors"), "number", 4),
            Panel("Least free space", (Query(
                f"min (avatar_telemetry_folder_free_bytes{{{SELECT}}})"),), "bytes",
                Help("Free space of the runtime directory, on the host that has least.",
                     "Some MiB: each new worker and series needs some.",
                     "Find what fills /dev/shm, or give the container more (--shm-size)."),
                of_alert("TelemetryFolderIsFull", 8 << 20), "number", 4),
        )),
        Row("Export", (
            Panel("Spans by result", (Query(rate(SPANS, "result"), "{{result}}"),), "ops",
                  Help("Spans per second: accepted by a collector, refused by it (failed), or "
                       "dropped by a full ring.",
                       "Only exported.",
                       "See Lost spans."),
                  stacked=True),
            Panel("Lost spans", (Query(
                f"{rate(SPANS, 'instance, result', LOST)} or on (instance) {NONE}",
                "{{instance}} {{result}}"),), "ops",
                Help("Spans per second that do not reach the collector, by host and reason.",
                     "0.",
                     "dropped: the collector was down, or slower than the server; sample less or "
                     "enlarge AVATAR_TELEMETRY_RING_SIZE. failed: a wrong path or token.")),
            Panel("Pushes of metrics", (Query(rate(PUSHES, "result"), "{{result}}"),), "ops",
                  Help("Pushes of the merged metrics per second.",
                       "One per host in OTEL_METRIC_EXPORT_INTERVAL, exported.",
                       "For failed ones check OTEL_EXPORTER_OTLP_ENDPOINT and the collector.")),
            Panel("Exporter runs", (Query(
                f"max by (instance) (avatar_telemetry_exporter_up{{{SELECT}}})",
                "{{instance}}"),), "short",
                Help("1: the exporter of this host sends what is recorded and serves the separate "
                     "port.",
                     "1 for every host that exports.",
                     "At 0 nothing is sent: search the server's log for exporter."),
                of_alert("TelemetryHasNoExporter"), width=12),
            Panel("Log records by result", (Query(
                f"{rate(RECORDS, 'instance, result')} or on (instance) {NONE}",
                "{{instance}} {{result}}"),), "ops",
                Help("Warnings and errors per second, if OTEL_LOGS_EXPORTER is otlp.",
                     "Only exported, and few.",
                     "failed: the collector has no pipeline for logs. dropped: find why the "
                     "server logs so much."),
                width=12),
            Panel("Requests kept, by rule", (
                Query(rate("avatar_telemetry_requests_kept_total", "rule"), "{{rule}}"),
                Query(rate("avatar_telemetry_requests_dropped_total", "reason"),
                      "dropped: {{reason}}"),
            ), "ops",
                Help("Requests per second whose trace is exported or dropped, with "
                     "AVATAR_TELEMETRY_KEEP.",
                     "Every error and slow request is kept, and little is dropped by budget.",
                     "dropped: budget: raise the budget or lower the ratio."),
                width=24),
        )),
        Row("Faults", (
            Panel("Internal errors by place", (Query(rate(ERRORS, "where"), "{{where}}"),), "ops",
                  Help("Internal errors per second; where=ring is a corrupt ring or frame.",
                       "0.",
                       "store: /dev/shm is full. port: it cannot be bound. ring: another program "
                       "wrote to it. request: your own profile raises. Others: report them."),
                  of_alert("TelemetryInternalErrors")),
            Panel("Series refused", (Query(
                f"{rate(REFUSED, 'instance, metric')} or on (instance) {NONE}",
                "{{instance}} {{metric}}"),), "ops",
                Help("New label values beyond the ceiling AVATAR_TELEMETRY_MAX_SERIES.",
                     "0.",
                     "Your own profile has too many values, or the list of sizes is long."),
                of_alert("TelemetrySeriesRefused")),
            Panel("Unreadable files", (Query(
                f"sum by (instance) (avatar_telemetry_unreadable_files{{{SELECT}}})",
                "{{instance}}"),), "short",
                Help("Files of the runtime directory that the last scrape had to skip.",
                     "0.",
                     "Another program wrote to the directory: see the log, restart the server."),
                Limits(1, 0.5)),
            Panel("Conflicting series", (Query(
                f"sum by (instance) (avatar_telemetry_conflicting_series{{{SELECT}}})",
                "{{instance}}"),), "short",
                Help("Series of an older declaration, left out until a restart.",
                     "0, or some after a reload with other buckets.",
                     "Restart the server when convenient."),
                Limits(1, 0.5), width=12),
            Panel("Free space of the runtime directory", (Query(
                f"min by (instance) (avatar_telemetry_folder_free_bytes{{{SELECT}}})",
                "{{instance}}"),), "bytes",
                Help("Free space for metric files and rings.",
                     "Constant once all workers have started.",
                     "Find what fills /dev/shm, or give the container more (--shm-size)."),
                of_alert("TelemetryFolderIsFull", 8 << 20), width=12),
        )),
        Row("Cost", (
            Panel("Series", (Query(
                f"count by (instance) ({{__name__=~\"ivatar_.+|avatar_telemetry_.+\",{SELECT}}})",
                "{{instance}}"),), "short",
                Help("Time series of each host; a native histogram is one.",
                     "Constant after the first day.",
                     "If it grows, see docs/scaling.md: fewer sizes, or native histograms.")),
            Panel("Time of a scrape", (Query(
                f"max by (instance) (scrape_duration_seconds{{{SELECT}}})", "{{instance}}"),), "s",
                Help("Time that Prometheus waits for a page.",
                     "Below half a second.",
                     "At scrape_timeout the scrape fails: give the host CPU, or reduce series."),
                SCRAPE_TIME),
            Panel("Size of a scrape", (Query(
                f"max by (instance) (scrape_samples_scraped{{{SELECT}}})", "{{instance}}"),),
                "short",
                Help("Samples on the page.",
                     "Constant after the first day.",
                     "See Series.")),
            Panel("Slots in use", (Query(
                f"sum by (instance) (avatar_telemetry_slots_in_use{{{SELECT}}})",
                "{{instance}}"),), "short",
                Help("Processes that hold a slot of the store.",
                     "The number of workers, and some more during a reload.",
                     "More than that: the application forks processes of its own.")),
            Panel("Scrapes that work", (Query(f"min by (job, instance) (up{{{SELECT}}})",
                                              "{{job}} {{instance}}"),), "short",
                  Help("1: Prometheus could read the page.",
                       "1.",
                       "The server is down, unreachable, or refuses the token."),
                  of_alert("MetricsScrapeFails")),
            Panel("Versions", (Query(
                f"count by (version, python) (avatar_telemetry_build_info{{{SELECT}}})",
                "{{version}} on Python {{python}}"),), "short",
                Help("Hosts by version of this package and of Python.",
                     "One version, except during a release.",
                     "Upgrade the hosts that were left out."),
                kind="bars"),
        )),
    ),
)  # fmt: skip
