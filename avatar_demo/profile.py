"""The telemetry profile of the demo: ivatar's URLs, with other generators and another cache.

It is the only module that imports the telemetry; the application does not change.
"""

from dataclasses import replace

from avatar_telemetry.profiles.ivatar import PROFILE as IVATAR
from avatar_telemetry.profiles.model import Route

_GENERATORS = ("Identicon", "Monster", "Robot", "Retro", "Pagan", "Wavatar", "Silhouette")

PROFILE = replace(
    IVATAR,
    name="demo",
    routes=(Route(r"^/statistics/\Z", "/statistics/", "stats"), *IVATAR.routes),
    generators=tuple(f"avatar_demo.generators:{name}.draw" for name in _GENERATORS),
    avatar_cache=("pymemcache", "avatar_demo.cache:MemoryCache.get"),
    error_loggers=("avatar_demo.request",),
)
