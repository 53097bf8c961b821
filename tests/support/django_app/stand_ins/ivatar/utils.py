"""A generator of the application's own."""

from PIL import Image


def mm_ng(idhash, size=80):
    return Image.new("RGB", (size, size), f"#{idhash[:2] * 3}")
