"""The dashboard of avatars: cache, generators, sizes, formats, sources."""

from ivatar_boards.spec import (
    SELECT,
    WINDOW,
    Board,
    Panel,
    Query,
    Row,
    percentiles,
    quantile,
    rate,
)

AVATARS = "ivatar_avatar_requests_total"
MADE = "ivatar_avatars_generated_total"
SECONDS = "ivatar_avatar_generation_seconds"
HITS, MISSES = "ivatar_avatar_cache_hits_total", "ivatar_avatar_cache_misses_total"
SLOW = '{ name =~ "avatar\\\\..*" && duration > 500ms }'


def ratio(by: str = "") -> str:
    """Return the query for the hit ratio; missing unless both series exist."""
    return f"{rate(HITS, by)} / ({rate(HITS, by)} + {rate(MISSES, by)} > 0)"


BOARD = Board(
    "ivatar-avatars", "Avatar server: avatars", "The cache, and the images generated on a miss.",
    (
        Row("Requests", (
            Panel("Avatars per minute", (Query(f"60 * {rate(AVATARS)}", "avatars"),)),
            Panel("By status", (Query(rate(AVATARS, "status_code"), "{{status_code}}"),), "reqps",
                  stacked=True),
            Panel("By format", (Query(rate(AVATARS, "format"), "{{format}}"),), "reqps",
                  stacked=True),
            Panel("By size", (Query(rate(AVATARS, "size"), "{{size}}"),), "reqps", stacked=True,
                  width=12),
            Panel("Popular sizes", (Query(
                f"topk(10, sum by (size) (increase({AVATARS}{{{SELECT}}}[$__range])))",
                "{{size}}"),), "short", "Over the selected time.", "bars", 12),
        )),
        Row("Cache", (
            Panel("Hit ratio", (Query(ratio(), "all"),), "percentunit"),
            Panel("Hit ratio by size", (Query(ratio("size"), "{{size}}"),), "percentunit"),
            Panel("Lookups", (Query(rate(HITS), "hits"), Query(rate(MISSES), "misses")), "ops",
                  stacked=True),
        )),
        Row("Made", (
            Panel("Pictures by source", (Query(rate(MADE, "source"), "{{source}}"),), "ops",
                  "uploaded, generated, or of an outside service.", stacked=True),
            Panel("Pictures by format", (Query(rate(MADE, "format"), "{{format}}"),), "ops",
                  stacked=True),
            Panel("Pictures by size", (Query(rate(MADE, "size"), "{{size}}"),), "ops",
                  stacked=True),
            Panel("Time to make one", percentiles(SECONDS), "s", "Until its first byte.",
                  traces=SLOW),
            Panel("p95 by source", (Query(quantile(0.95, SECONDS, "source"), "{{source}}"),), "s",
                  traces=SLOW),
            Panel("Time spent", (Query(
                f"sum by (source) (rate({SECONDS}_sum{{{SELECT}}}[{WINDOW}]))", "{{source}}"),),
                "short", "Seconds per second: the number of workers busy with it.", stacked=True),
        )),
    ),
)  # fmt: skip
