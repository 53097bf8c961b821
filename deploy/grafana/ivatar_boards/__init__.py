"""The dashboards of the avatar server, as data: what is asked, in which unit, how wide."""

from ivatar_boards import accounts, avatars, outside, overview, telemetry, workers

BOARDS = (
    overview.BOARD, avatars.BOARD, accounts.BOARD, outside.BOARD, workers.BOARD, telemetry.BOARD,
)  # fmt: skip

# Metrics that come with tracing. A panel that asks for one of them shows nothing until it is there;
# a name that is there goes out of this list, so that a test holds its panels to data.
AWAITED = (
    "ivatar_db_queries_total",
    "ivatar_db_query_seconds",
)
