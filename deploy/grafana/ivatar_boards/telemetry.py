"""The dashboard of the telemetry itself: losses, errors and cost."""

from ivatar_boards.spec import SELECT, Board, Panel, Query, Row, rate, share

SPANS = "avatar_telemetry_spans_total"
RECORDS = "avatar_telemetry_log_records_total"
REFUSED = "avatar_telemetry_series_refused_total"
# A missing series means that nothing was counted yet; slots_in_use lists all servers.
NONE = f"0 * sum by (instance) (avatar_telemetry_slots_in_use{{{SELECT}}})"

BOARD = Board(
    "ivatar-telemetry", "Avatar server: the telemetry itself", "Losses, refusals and errors.",
    (
        Row("Export", (
            Panel("Spans by result", (Query(rate(SPANS, "result"), "{{result}}"),), "ops",
                  stacked=True, width=5),
            Panel("Spans lost", (Query(share(SPANS, 'result=~"dropped|failed"'), "lost"),),
                  "percentunit", width=5),
            Panel("Pushes of metrics", (Query(
                rate("avatar_telemetry_metric_pushes_total", "result"), "{{result}}"),), "ops",
                width=5),
            Panel("Exporter runs", (Query(
                f"max by (instance) (avatar_telemetry_exporter_up{{{SELECT}}})",
                "{{instance}}"),), "short",
                "1: the exporter of this host sends what is recorded and serves the separate port.",
                width=4),
            Panel("Log records by result", (Query(
                f"{rate(RECORDS, 'instance, result')} or on (instance) {NONE}",
                "{{instance}} {{result}}"),),
                "ops", "Warnings and errors, if OTEL_LOGS_EXPORTER is otlp.", width=5),
            Panel("Requests kept, by rule", (
                Query(rate("avatar_telemetry_requests_kept_total", "rule"), "{{rule}}"),
                Query(rate("avatar_telemetry_requests_dropped_total", "reason"),
                      "dropped: {{reason}}"),
            ), "ops", "With AVATAR_TELEMETRY_KEEP.", width=24),
        )),
        Row("Faults", (
            Panel("Internal errors", (Query(
                rate("avatar_telemetry_internal_errors_total", "where"), "{{where}}"),), "ops"),
            Panel("Series refused", (Query(
                f"{rate(REFUSED, 'instance, metric')} or on (instance) {NONE}",
                "{{instance}} {{metric}}"),), "ops", "New label values beyond the ceiling."),
            Panel("Unreadable files", (Query(
                f"sum by (instance) (avatar_telemetry_unreadable_files{{{SELECT}}})",
                "{{instance}}"),)),
            Panel("Conflicting series", (Query(
                f"sum by (instance) (avatar_telemetry_conflicting_series{{{SELECT}}})",
                "{{instance}}"),), "short",
                "Series of an older declaration, left out until a restart.", width=12),
            Panel("Free space of the runtime directory", (Query(
                f"min by (instance) (avatar_telemetry_folder_free_bytes{{{SELECT}}})",
                "{{instance}}"),), "bytes", width=12),
        )),
        Row("Cost", (
            Panel("Series", (Query(
                f"count by (instance) ({{__name__=~\"ivatar_.+|avatar_telemetry_.+\",{SELECT}}})",
                "{{instance}}"),), "short", "Time series of each host."),
            Panel("Time of a scrape", (Query(
                f"max by (instance) (scrape_duration_seconds{{{SELECT}}})", "{{instance}}"),), "s"),
            Panel("Size of a scrape", (Query(
                f"max by (instance) (scrape_samples_scraped{{{SELECT}}})", "{{instance}}"),),
                "short", "Samples."),
            Panel("Slots in use", (Query(
                f"sum by (instance) (avatar_telemetry_slots_in_use{{{SELECT}}})",
                "{{instance}}"),)),
            Panel("Scrapes that work", (Query(f"min by (job, instance) (up{{{SELECT}}})",
                                              "{{job}} {{instance}}"),)),
            Panel("Versions", (Query(
                f"count by (version, python) (avatar_telemetry_build_info{{{SELECT}}})",
                "{{version}} on Python {{python}}"),), kind="bars"),
        )),
    ),
)  # fmt: skip
