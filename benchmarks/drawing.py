"""A picture like an avatar server's, which takes about as long as the rest of its request."""

from __future__ import annotations

from io import BytesIO

from PIL import Image, ImageDraw

SIZE = 80
CELLS = 5


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


class WatchedIdenticon(Identicon):
    """A subclass for the probes, which leave the bare one alone."""
