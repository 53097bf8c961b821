"""The applications that are measured, each bare and as the layer's probes watch it.

``trivial`` answers with five bytes, so that what is around it shows at its largest; ``identicon``
draws a picture of 80 pixels. Both first miss in a cache, and so have all metrics of an
avatar request.

Nothing of the layer is imported here, and Pillow only where it draws: a bare worker has neither.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol

IMAGE = b"image"
DRAWING = "benchmarks.drawing"
DIGEST_IN_PATH = slice(8, 40)


class Generator(Protocol):
    """Makes a picture."""

    def draw(self, digest: str) -> bytes:
        """A picture for the digest."""


class EmptyCache:
    """A cache that never has an answer."""

    def get(self, key: str) -> bytes | None:
        """Nothing."""
        return None


class FiveBytes:
    """Draws nothing, at once."""

    def draw(self, digest: str) -> bytes:
        """Five bytes."""
        return IMAGE


class WatchedCache(EmptyCache):
    """A subclass for the probes, which leave the bare one alone."""


class WatchedFiveBytes(FiveBytes):
    """A subclass for the probes."""


class AvatarApplication:
    """Looks into the cache, draws, answers."""

    def __init__(self, cache: EmptyCache, generator: Generator) -> None:
        self.cache = cache
        self.generator = generator

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        digest = environ["PATH_INFO"][DIGEST_IN_PATH]
        image = self.cache.get(digest)
        if image is None:
            image = self.generator.draw(digest)
        headers = [("Content-Type", "image/png"), ("Content-Length", str(len(image)))]
        start_response("200 OK", headers)
        return [image]


def bare(name: str) -> AvatarApplication:
    """The application of a name."""
    if name == "identicon":
        return AvatarApplication(EmptyCache(), import_module(DRAWING).Identicon())
    return AvatarApplication(EmptyCache(), FiveBytes())


def watched(name: str) -> AvatarApplication:
    """The application of a name, made of what the probes watch."""
    if name == "identicon":
        return AvatarApplication(WatchedCache(), import_module(DRAWING).WatchedIdenticon())
    return AvatarApplication(WatchedCache(), WatchedFiveBytes())
