"""A generator that is a method."""

from PIL import Image


class Pydenticon5:
    def draw(self, digest, size, background):
        return Image.new("RGB", (size, size), f"#{digest[:6]}")
