"""The overview dashboard: rate, errors and duration of all requests."""

from ivatar_boards.spec import (
    SELECT,
    WINDOW,
    Board,
    Panel,
    Query,
    Row,
    Traces,
    percentiles,
    quantile,
    rate,
    share,
)

REQUESTS = "ivatar_requests_total"
DURATION = "ivatar_request_duration_seconds"
FIRST_BYTE = "ivatar_request_first_byte_seconds"
ERRORS = 'status_code=~"5.."'
HITS, MISSES = "ivatar_avatar_cache_hits_total", "ivatar_avatar_cache_misses_total"
SLOW = '{ resource.deployment.environment.name =~ "$environment" && duration > 500ms }'
FAILED = '{ resource.deployment.environment.name =~ "$environment" && status = error }'
BURN = 'job:ivatar_slo_{}:errors_ratio_rate1h{{environment=~"$environment"}} / {}'

BOARD = Board(
    "ivatar-overview", "Avatar server: overview", "Rate, errors and duration of all requests.",
    (
        Row("At a glance", (
            Panel("Requests", (Query(rate(REQUESTS)),), "reqps", kind="number", width=4),
            Panel("Errors", (Query(share(REQUESTS, ERRORS)),), "percentunit",
                  "Share of requests that end with a 5xx.", "number", 4),
            Panel("p95", (Query(quantile(0.95, DURATION)),), "s",
                  "95th percentile of the time until the end of an answer.", "number", 4),
            Panel("Avatars per minute", (Query(f"60 * {rate('ivatar_avatar_requests_total')}"),),
                  "short", kind="number", width=4),
            Panel("Cache hits", (Query(f"{rate(HITS)} / ({rate(HITS)} + {rate(MISSES)})"),),
                  "percentunit", "Share of lookups that hit the avatar cache.", "number", 4),
            Panel("In progress", (Query(f"sum (ivatar_requests_in_progress{{{SELECT}}})"),),
                  kind="number", width=4),
        )),
        Row("Rate", (
            Panel("Requests by path", (Query(rate(REQUESTS, "path"), "{{path}}"),), "reqps",
                  stacked=True),
            Panel("Requests by status", (Query(rate(REQUESTS, "status_code"), "{{status_code}}"),),
                  "reqps", stacked=True),
            Panel("Requests by host", (Query(rate(REQUESTS, "instance"), "{{instance}}"),),
                  "reqps"),
        )),
        Row("Errors", (
            Panel("Errors by path", (Query(share(REQUESTS, ERRORS, "path"), "{{path}}"),),
                  "percentunit", "Share of requests of a path that end with a 5xx.", width=12,
                  traces=FAILED),
            Panel("Error budget", (Query(BURN.format("availability", "0.001"), "availability"),
                                   Query(BURN.format("latency", "0.01"), "latency")), "short",
                  "Burn rate of the budgets over an hour: 1 spends them in exactly 30 days.",
                  width=12),
        )),
        Row("Duration", (
            Panel("Duration", percentiles(DURATION), "s", "Until the end of the response.",
                  traces=SLOW),
            Panel("p95 by path", (Query(quantile(0.95, DURATION, "path"), "{{path}}"),), "s",
                  traces=SLOW),
            Panel("p95 of the first byte, by path",
                  (Query(quantile(0.95, FIRST_BYTE, "path"), "{{path}}"),), "s",
                  "Until the application's first data.", traces=SLOW),
            Panel("Average duration", (Query(
                f"sum (rate({DURATION}_sum{{{SELECT}}}[{WINDOW}])) / ({rate(DURATION + '_count')}"
                " > 0)", "average"),), "s", traces=SLOW),
            Panel("Requests in progress",
                  (Query(f"sum by (instance) (ivatar_requests_in_progress{{{SELECT}}})",
                         "{{instance}}"),)),
            Panel("Methods", (Query(rate(REQUESTS, "method"), "{{method}}"),), "reqps",
                  stacked=True),
        )),
        Row("Traces", (
            Traces("Slow requests", SLOW),
            Traces("Failed requests", FAILED),
        )),
    ),
)  # fmt: skip
