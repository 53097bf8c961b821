"""The dashboard of outside services: Gravatar, Bluesky and others."""

from dataclasses import replace

from ivatar_boards.limits import of_alert
from ivatar_boards.spec import Board, Help, Panel, Query, Row, percentiles, quantile, rate, share

CALLS = "ivatar_external_avatar_requests_total"
SECONDS = "ivatar_external_avatar_request_seconds"
OTHER_CALLS = "ivatar_external_requests_total"
OTHER_SECONDS = "ivatar_external_request_seconds"
PROXIES = 'path=~"/(gravatar|bluesky)proxy/.*"'
PROXY = '{ name =~ "avatar\\\\..*_proxy" }'
SLOW = '{ name =~ "avatar\\\\..*_proxy" && duration > 1s }'
SLOW_OTHER = '{ name =~ "(import|auth)\\\\..*" && duration > 1s }'
SUCCESS = of_alert("OutsideServiceFails")
SUCCESS_OF_OTHERS = replace(SUCCESS, alert="")

BOARD = Board(
    "ivatar-outside", "Avatar server: outside services", "Calls, durations, failures by service.",
    (
        Row("Calls", (
            Panel("Calls", (Query(rate(CALLS, "service"), "{{service}}"),), "reqps",
                  Help("Calls of outside services for an avatar, per second.",
                       "Far fewer than avatars.",
                       "If it rises, see the hit ratio of the cache."),
                  stacked=True),
            Panel("Success of calls",
                  (Query(share(CALLS, 'success="true"', "service"), "{{service}}"),),
                  "percentunit",
                  Help("Share that succeeds; a 404 or 410 (no such image) is a success.",
                       "Above 90 %.",
                       "Check the service's status page, DNS, and whether it limits you (429)."),
                  SUCCESS, traces=PROXY),
            Panel("Failures of calls",
                  (Query(rate(CALLS, "service", 'success="false"'), "{{service}}"),), "reqps",
                  Help("Failed calls per second.",
                       "0, apart from single points.",
                       "Open their traces: the CLIENT span has the status or the timeout."),
                  traces=PROXY),
        )),
        Row("Calls for anything but an avatar", (
            Panel("Other calls", (Query(rate(OTHER_CALLS, "service"), "{{service}}"),), "reqps",
                  Help("Calls for OpenID discovery, imports and Bluesky handles, per second.",
                       "Few: they follow logins and imports.",
                       "A jump without logins is abuse: limit the rate at the proxy."),
                  stacked=True),
            Panel("Success of other calls",
                  (Query(share(OTHER_CALLS, 'success="true"', "service"), "{{service}}"),),
                  "percentunit",
                  Help("Share that succeeds.",
                       "Above 90 %; a user's own OpenID provider may be down.",
                       "If one service fails for all users, check its status page."),
                  SUCCESS_OF_OTHERS, traces=SLOW_OTHER),
            Panel("Time of another call", percentiles(OTHER_SECONDS), "s",
                  Help("Time until the head of the response.",
                       "Below a second.",
                       "The user waits meanwhile: open the traces to see for which service."),
                  traces=SLOW_OTHER),
        )),
        Row("Time", (
            Panel("Time of a call", percentiles(SECONDS), "s",
                  Help("Time until the head of the response.",
                       "Some hundred milliseconds.",
                       "If it is near the timeout of the application, the service is down."),
                  traces=SLOW),
            Panel("p95 by service", (Query(quantile(0.95, SECONDS, "service"), "{{service}}"),),
                  "s",
                  Help("95th percentile of the time of each service.",
                       "Some hundred milliseconds.",
                       "Only one is slow: that service. All: DNS or your network."),
                  traces=SLOW),
            Panel("Requests that wait for a service",
                  (Query(rate("ivatar_requests_total", "path", PROXIES), "{{path}}"),), "reqps",
                  Help("Requests per second for the proxy routes.",
                       "Far fewer than for /avatar/{digest}.",
                       "They occupy workers while they wait: compare with Connections that wait."),
                  stacked=True),
        )),
    ),
)  # fmt: skip
