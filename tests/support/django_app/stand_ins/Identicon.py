"""A generator that is a function of a module, and gives the bytes of a picture."""

from io import BytesIO

from PIL import Image


def render(code):
    file = BytesIO()
    Image.new("RGB", (5, 5), f"#{code[:6]}").save(file, "PNG")
    return file.getvalue()
