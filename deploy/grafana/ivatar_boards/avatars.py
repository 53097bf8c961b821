"""The dashboard of avatars: cache, generators, sizes, formats, sources."""

from ivatar_boards.limits import of_alert
from ivatar_boards.spec import (
    SELECT,
    Board,
    Help,
    Panel,
    Query,
    Row,
    percentiles,
    quantile,
    rate,
    total,
)

AVATARS = "ivatar_avatar_requests_total"
MADE = "ivatar_avatars_generated_total"
SECONDS = "ivatar_avatar_generation_seconds"
HITS, MISSES = "ivatar_avatar_cache_hits_total", "ivatar_avatar_cache_misses_total"
SLOW = '{ name =~ "avatar\\\\..*" && duration > 500ms }'
SLOW_IMAGES = of_alert("SlowAvatarGeneration")
HIT_RATIO = of_alert("LowCacheHitRatio")


def ratio(by: str = "") -> str:
    """Return the query for the hit ratio; missing unless both series exist."""
    return f"{rate(HITS, by)} / ({rate(HITS, by)} + {rate(MISSES, by)} > 0)"


BOARD = Board(
    "ivatar-avatars", "Avatar server: avatars", "The cache, and the images generated on a miss.",
    (
        Row("Requests", (
            Panel("Avatars per minute", (Query(f"60 * {rate(AVATARS)}", "avatars"),), "short",
                  Help("Requests for an avatar, per minute.",
                       "The usual value of the hour of the day.",
                       "Compare a jump with By size and By format: one page may cause it.")),
            Panel("By status", (Query(rate(AVATARS, "status_code"), "{{status_code}}"),), "reqps",
                  Help("Requests for an avatar by status.",
                       "200, 304, and 302 to a default image or another service.",
                       "For 5xx see Errors by path on the overview."),
                  stacked=True),
            Panel("By format", (Query(rate(AVATARS, "format"), "{{format}}"),), "reqps",
                  Help("Format of the responses; none: neither an image nor a suffix in the path.",
                       "Mostly png and jpg.",
                       "Much of none are redirects or 404: see By status."),
                  stacked=True),
            Panel("By size", (Query(rate(AVATARS, "size"), "{{size}}"),), "reqps",
                  Help("Requested sizes; other: not one of AVATAR_TELEMETRY_SIZES.",
                       "Few sizes, that your pages use.",
                       "If other is large, add its sizes to AVATAR_TELEMETRY_SIZES."),
                  stacked=True, width=12),
            Panel("Popular sizes", (Query(
                f"topk(10, sum by (size) (increase({AVATARS}{{{SELECT}}}[$__range])))",
                "{{size}}"),), "short",
                Help("Requests for each size over the selected time.",
                     "The sizes of your pages first.",
                     "Sizes that are used once each miss the cache: fix the page."),
                kind="bars", width=12),
        )),
        Row("Cache", (
            Panel("Hit ratio", (Query(ratio(), "all"),), "percentunit",
                  Help("Share of lookups that hit the avatar cache.",
                       "Above 90 %.",
                       "Low after a restart of the cache: wait. Low for long: it is too small, "
                       "unreachable, or clients ask for each digest once."),
                  HIT_RATIO),
            Panel("Hit ratio by size", (Query(ratio("size"), "{{size}}"),), "percentunit",
                  Help("Share of lookups of each size that hit.",
                       "Above 90 % for the sizes of your pages.",
                       "A single low size is used by few pages: use a common one."),
                  HIT_RATIO),
            Panel("Lookups", (Query(rate(HITS), "hits"), Query(rate(MISSES), "misses")), "ops",
                  Help("Lookups in the avatar cache; a failed lookup counts as neither.",
                       "Mostly hits.",
                       "If there are fewer than avatars by far, the cache fails: see the log."),
                  stacked=True),
        )),
        Row("Made", (
            Panel("Pictures by source", (Query(rate(MADE, "source"), "{{source}}"),), "ops",
                  Help("Images that were made: uploaded, generated, or of an outside service.",
                       "As many as lookups that miss.",
                       "If it rises, see the hit ratio."),
                  stacked=True),
            Panel("Pictures by format", (Query(rate(MADE, "format"), "{{format}}"),), "ops",
                  Help("Format of the images that were made.",
                       "Like By format.",
                       "webp and avif take longer: compare with Time to make one."),
                  stacked=True),
            Panel("Pictures by size", (Query(rate(MADE, "size"), "{{size}}"),), "ops",
                  Help("Size of the images that were made.",
                       "Like By size.",
                       "Large sizes take longer: compare with Time to make one."),
                  stacked=True),
            Panel("Time to make one", percentiles(SECONDS), "s",
                  Help("Time until the first byte of an image that was made.",
                       "p95 below half of the red line.",
                       "See p95 by source, then open the traces."),
                  SLOW_IMAGES, traces=SLOW),
            Panel("p95 by source", (Query(quantile(0.95, SECONDS, "source"), "{{source}}"),), "s",
                  Help("95th percentile by source.",
                       "generated below 0.1 s; external depends on the service.",
                       "generated: CPU. external: the service. uploaded: database or disk."),
                  SLOW_IMAGES, traces=SLOW),
            Panel("Time spent", (Query(total(SECONDS, "source"), "{{source}}"),), "short",
                  Help("Seconds per second: the number of workers busy with making images.",
                       "Far below the number of workers.",
                       "If it comes close, add workers or hosts, or enlarge the cache."),
                  stacked=True),
        )),
    ),
)  # fmt: skip
