"""The applications that are measured, each bare and as the layer's probes watch it.

``trivial`` answers with five bytes, so that what is around it shows at its largest; ``identicon``
draws a picture of 80 pixels; ``demo`` is the demo server. The first two look into a cache in vain
first, and so have all metrics of an avatar request.
"""

from __future__ import annotations

import os
from dataclasses import replace
from io import BytesIO
from typing import Any

from PIL import Image, ImageDraw

from avatar_telemetry.profile import Profile
from avatar_telemetry.profiles.demo import PROFILE as DEMO
from avatar_telemetry.profiles.ivatar import PROFILE as IVATAR

IMAGE = b"image"
SIZE = 80
CELLS = 5
DIGEST_IN_PATH = slice(8, 40)


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


class Identicon:
    """Draws a mirrored pattern of five by five squares."""

    def draw(self, digest: str) -> bytes:
        """A PNG."""
        bits = int(digest, 16)
        image = Image.new("RGB", (SIZE, SIZE), "white")
        pen = ImageDraw.Draw(image)
        color = (bits & 127, bits >> 7 & 127, bits >> 14 & 127)
        edge = SIZE // CELLS
        for number in range(CELLS * CELLS):
            row, column = divmod(number, CELLS)
            if bits >> (21 + row * CELLS + min(column, CELLS - 1 - column)) & 1:
                left, top = column * edge, row * edge
                pen.rectangle((left, top, left + edge - 1, top + edge - 1), color)
        target = BytesIO()
        image.save(target, "PNG")
        return target.getvalue()


class WatchedCache(EmptyCache):
    """The same for the probes, which leave the bare one alone."""


class WatchedFiveBytes(FiveBytes):
    """The same for the probes."""


class WatchedIdenticon(Identicon):
    """The same for the probes."""


class AvatarApplication:
    """Looks into the cache, draws, answers."""

    def __init__(self, cache: EmptyCache, generator: FiveBytes | Identicon) -> None:
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


WATCHED = replace(
    IVATAR,
    generators=(f"{__name__}:WatchedFiveBytes.draw", f"{__name__}:WatchedIdenticon.draw"),
    avatar_cache=(f"{__name__}:WatchedCache.get",),
)


def bare(name: str) -> Any:
    """The application of a name."""
    if name == "demo":
        return _demo()
    return AvatarApplication(EmptyCache(), Identicon() if name == "identicon" else FiveBytes())


def watched(name: str) -> Any:
    """The application of a name, made of what :func:`profile` names."""
    if name == "demo":
        return _demo()
    generator = WatchedIdenticon() if name == "identicon" else WatchedFiveBytes()
    return AvatarApplication(WatchedCache(), generator)


def profile(name: str) -> Profile:
    """What the layer is told about the application."""
    return DEMO if name == "demo" else WATCHED


def _demo() -> Any:
    from avatar_telemetry.demo import create_application  # slow to load, and only here

    return create_application(os.environ)
