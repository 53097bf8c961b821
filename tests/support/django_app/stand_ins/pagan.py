"""A generator that is a class, and draws where it is made."""

from PIL import Image


class Avatar:
    def __init__(self, text):
        self.img = Image.new("RGB", (16, 16), f"#{text[:6]}")
