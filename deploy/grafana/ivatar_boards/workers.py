"""The dashboard of workers and runtime: processes, queue, database."""

from ivatar_boards.limits import Limits, of_alert
from ivatar_boards.spec import SELECT, Board, Help, Panel, Query, Row, Traces, quantile, rate

SLOW = "{ span.db.system != nil && duration > 100ms }"
STACKS = '{ event:name =~ "avatar_telemetry\\\\.(slow_request|worker_abort)" }'

BOARD = Board(
    "ivatar-workers", "Avatar server: workers and runtime",
    "gunicorn, its processes, the database.",
    (
        Row("Workers", (
            Panel("Workers", (Query(f"sum by (state) (gunicorn_workers{{{SELECT}}})",
                                    "{{state}}"),), "short",
                  Help("Workers that process a request, and those that are idle.",
                       "Some idle ones at every hour.",
                       "If none is idle, connections wait: find slow routes, else add workers."),
                  stacked=True),
            Panel("Connections that wait",
                  (Query(f"sum by (instance) (gunicorn_backlog{{{SELECT}}})", "{{instance}}"),),
                  "short",
                  Help("In the listening TCP sockets; not available for unix sockets.",
                       "0.",
                       "All workers of the host are busy: see the slow routes on the overview."),
                  of_alert("RequestsQueue")),
            Panel("Requests in progress", (Query(
                f"sum by (instance) (ivatar_requests_in_progress{{{SELECT}}})",
                "{{instance}}"),), "short",
                Help("Requests between start and end on each host.",
                     "Below the number of its workers or threads.",
                     "If it stays there, the host is at its limit.")),
        )),
        Row("Processes", (
            Panel("CPU", (Query(rate("process_cpu_seconds_total", "instance"), "{{instance}}"),),
                  "short",
                  Help("Cores in use by all processes of a host.",
                       "Below the cores of the host.",
                       "At its cores more workers do not help: add hosts, or enlarge the cache.")),
            Panel("Resident memory", (Query(
                f"sum by (worker) (process_resident_memory_bytes{{{SELECT}}})",
                "{{worker}}"),), "bytes",
                Help("Memory of each process; workers share pages, so the sum is too high.",
                     "Stable some minutes after the start.",
                     "If it grows for hours, recycle workers (max_requests) and find the leak.")),
            Panel("Age of the workers", (Query(
                f"time() - max by (worker) (process_start_time_seconds{{{SELECT}}})",
                "{{worker}}"),), "s",
                Help("Time since the start of each process.",
                     "Lines that rise, and fall with max_requests or a release.",
                     "Workers that are always young crash or time out: see the server's log.")),
            Panel("Open files", (Query(
                f"max by (worker) (process_open_fds{{{SELECT}}} / process_max_fds{{{SELECT}}})",
                "{{worker}}"),), "percentunit",
                Help("Share of the allowed file descriptors.",
                     "Below 50 %.",
                     "If it grows, the application leaks them; meanwhile raise LimitNOFILE."),
                Limits(0.8, 0.5)),
            Panel("Threads", (Query(f"sum by (worker) (process_threads{{{SELECT}}})",
                                    "{{worker}}"),), "short",
                  Help("Threads of each process.",
                       "Constant: those of the worker class, and few others.",
                       "If it grows, the application starts threads that never end.")),
            Panel("Virtual memory", (Query(
                f"sum by (worker) (process_virtual_memory_bytes{{{SELECT}}})",
                "{{worker}}"),), "bytes",
                Help("Address space of each process.",
                     "Constant.",
                     "Only useful beside a limit of address space; else see Resident memory.")),
        )),
        Row("Database", (
            Panel("Queries", (Query(rate("ivatar_db_queries_total", "system, operation"),
                                    "{{system}} {{operation}}"),), "ops",
                  Help("Statements inside requests, per second.",
                       "In proportion to the requests that miss the cache.",
                       "If it rises alone, a release queries in a loop: open a trace."),
                  stacked=True, width=12),
            Panel("p95 of a query", (Query(
                quantile(0.95, "ivatar_db_query_seconds", "system, operation"),
                "{{system}} {{operation}}"),), "s",
                Help("95th percentile of the time until the driver returns.",
                     "Some milliseconds.",
                     "Open the traces: the same statement is an index that is missing, all of "
                     "them are the database or its disk."),
                width=12, traces=SLOW),
        )),
        Row("Traces", (
            Traces("Requests with a stack", STACKS, Help(
                "Requests that were slower than AVATAR_TELEMETRY_SLOW_STACK, or whose worker "
                "was aborted.",
                "None.",
                "Open one: the event of the server span has the stack, the place that waits.")),
            Traces("Slow statements", SLOW, Help(
                "Traces with a statement that took longer than 100 ms.",
                "Few.",
                "Open one: the span has the statement without its values.")),
        )),
    ),
)  # fmt: skip
