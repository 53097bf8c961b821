"""The dashboard of workers and runtime: processes, queue, database."""

from ivatar_boards.spec import SELECT, Board, Panel, Query, Row, quantile, rate

SLOW = "{ span.db.system != nil && duration > 100ms }"

BOARD = Board(
    "ivatar-workers", "Avatar server: workers and runtime",
    "gunicorn, its processes, the database.",
    (
        Row("Workers", (
            Panel("Workers", (Query(f"sum by (state) (gunicorn_workers{{{SELECT}}})",
                                    "{{state}}"),), stacked=True),
            Panel("Connections that wait",
                  (Query(f"sum by (instance) (gunicorn_backlog{{{SELECT}}})", "{{instance}}"),),
                  description="In the listening TCP sockets; not available for unix sockets."),
            Panel("Requests in progress", (Query(
                f"sum by (instance) (ivatar_requests_in_progress{{{SELECT}}})",
                "{{instance}}"),)),
        )),
        Row("Processes", (
            Panel("CPU", (Query(rate("process_cpu_seconds_total", "instance"), "{{instance}}"),),
                  "short", "Cores in use by all processes of a host."),
            Panel("Resident memory", (Query(
                f"sum by (worker) (process_resident_memory_bytes{{{SELECT}}})",
                "{{worker}}"),), "bytes", "Workers share pages, so the sum is too high."),
            Panel("Age of the workers", (Query(
                f"time() - max by (worker) (process_start_time_seconds{{{SELECT}}})",
                "{{worker}}"),), "s"),
            Panel("Open files", (Query(
                f"max by (worker) (process_open_fds{{{SELECT}}} / process_max_fds{{{SELECT}}})",
                "{{worker}}"),), "percentunit", "Share of what is allowed."),
            Panel("Threads", (Query(f"sum by (worker) (process_threads{{{SELECT}}})",
                                    "{{worker}}"),)),
            Panel("Virtual memory", (Query(
                f"sum by (worker) (process_virtual_memory_bytes{{{SELECT}}})",
                "{{worker}}"),), "bytes"),
        )),
        Row("Database", (
            Panel("Queries", (Query(rate("ivatar_db_queries_total", "system, operation"),
                                    "{{system}} {{operation}}"),), "ops", stacked=True, width=12),
            Panel("p95 of a query", (Query(
                quantile(0.95, "ivatar_db_query_seconds", "system, operation"),
                "{{system}} {{operation}}"),), "s", width=12, traces=SLOW),
        )),
    ),
)  # fmt: skip
