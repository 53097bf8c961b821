"""The dashboards of the avatar server, as data: what is asked, in which unit, how wide."""

from ivatar_boards import accounts, avatars, outside, overview, telemetry, workers

BOARDS = (
    overview.BOARD, avatars.BOARD, accounts.BOARD, outside.BOARD, workers.BOARD, telemetry.BOARD,
)  # fmt: skip
