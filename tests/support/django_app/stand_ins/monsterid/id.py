"""A generator that is a function, and fails for some digests."""

from PIL import Image

FATAL_PREFIX = "bad0"


def build_monster(digest, size):
    if digest.startswith(FATAL_PREFIX):
        raise ValueError("no monster of this digest")
    return Image.new("RGB", (20, 20), f"#{digest[:6]}").resize(size)
