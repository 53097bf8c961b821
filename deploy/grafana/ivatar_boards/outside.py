"""The dashboard of outside services: Gravatar, Bluesky and others."""

from ivatar_boards.spec import Board, Panel, Query, Row, percentiles, quantile, rate, share

CALLS = "ivatar_external_avatar_requests_total"
SECONDS = "ivatar_external_avatar_request_seconds"
OTHER_CALLS = "ivatar_external_requests_total"
OTHER_SECONDS = "ivatar_external_request_seconds"
PROXIES = 'path=~"/(gravatar|bluesky)proxy/.*"'
SLOW = '{ name =~ "avatar\\\\..*_proxy" && duration > 1s }'
SLOW_OTHER = '{ name =~ "(import|auth)\\\\..*" && duration > 1s }'

BOARD = Board(
    "ivatar-outside", "Avatar server: outside services", "Calls, durations, failures by service.",
    (
        Row("Calls", (
            Panel("Calls", (Query(rate(CALLS, "service"), "{{service}}"),), "reqps", stacked=True),
            Panel("Success", (Query(share(CALLS, 'success="true"', "service"), "{{service}}"),),
                  "percentunit", "A 404 or 410 (no such image) is a success."),
            Panel("Failures", (Query(rate(CALLS, "service", 'success="false"'), "{{service}}"),),
                  "reqps"),
        )),
        Row("Calls for anything but an avatar", (
            Panel("Other calls", (Query(rate(OTHER_CALLS, "service"), "{{service}}"),), "reqps",
                  "OpenID discovery, imports, Bluesky handles.", stacked=True),
            Panel("Success of other calls",
                  (Query(share(OTHER_CALLS, 'success="true"', "service"), "{{service}}"),),
                  "percentunit"),
            Panel("Time of another call", percentiles(OTHER_SECONDS), "s",
                  "Until the head of the response.", traces=SLOW_OTHER),
        )),
        Row("Time", (
            Panel("Time of a call", percentiles(SECONDS), "s", "Until the head of the response.",
                  traces=SLOW),
            Panel("p95 by service", (Query(quantile(0.95, SECONDS, "service"), "{{service}}"),),
                  "s", traces=SLOW),
            Panel("Requests that wait for a service",
                  (Query(rate("ivatar_requests_total", "path", PROXIES), "{{path}}"),), "reqps",
                  stacked=True),
        )),
    ),
)  # fmt: skip
