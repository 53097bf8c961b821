"""A generator that is a method, and pastes parts that it opens as files."""

from io import BytesIO

from PIL import Image


def _part(color):
    file = BytesIO()
    Image.new("RGBA", (30, 30), color).save(file, "PNG")
    file.seek(0)
    return Image.open(file)


class Robohash:
    def __init__(self, text):
        self.text = text
        self.img = None

    def assemble(self, roboset="any", sizex=300, sizey=300):
        self.img = Image.new("RGBA", (30, 30))
        for start in (0, 6, 12):
            self.img.paste(_part(f"#{self.text[start : start + 6]}"), (start, start))
        self.img = self.img.resize((sizex, sizey))
