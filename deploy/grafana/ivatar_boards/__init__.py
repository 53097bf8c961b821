"""The dashboards of the avatar server, as data: queries, units and widths."""

from ivatar_boards import accounts, avatars, outside, overview, telemetry, workers

BOARDS = (
    overview.BOARD, avatars.BOARD, accounts.BOARD, outside.BOARD, workers.BOARD, telemetry.BOARD,
)  # fmt: skip
