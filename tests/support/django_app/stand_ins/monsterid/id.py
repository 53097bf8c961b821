"""A generator that is a function, and fails for some seeds."""

from PIL import Image

FATAL_SEED = "bad0"


def build_monster(seed, size):
    if seed.startswith(FATAL_SEED):
        raise ValueError("no monster of this seed")
    return Image.new("RGB", (20, 20), f"#{seed[:6]}").resize(size)
