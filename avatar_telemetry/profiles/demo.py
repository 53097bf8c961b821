"""The demo avatar server: ivatar's URLs, with generators and an avatar cache of its own."""

from dataclasses import replace

from avatar_telemetry.profiles.ivatar import PROFILE as IVATAR

_GENERATORS = ("Identicon", "Monster", "Robot", "Retro", "Pagan", "Wavatar", "Silhouette")

PROFILE = replace(
    IVATAR,
    name="demo",
    generators=tuple(f"avatar_telemetry.demo.generators:{name}.draw" for name in _GENERATORS),
    avatar_cache=("pymemcache", "avatar_telemetry.demo.cache:MemoryCache.get"),
)
