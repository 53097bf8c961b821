"""What the generators draw with: dice thrown by a digest, and a canvas of the unit square."""

from __future__ import annotations

import colorsys
import hashlib
from collections.abc import Sequence
from typing import TypeVar

from PIL import Image, ImageDraw

T = TypeVar("T")
Color = tuple[int, int, int]
Point = tuple[float, float]

MIN_SIDE = 256
INK: Color = (38, 38, 48)
WHITE: Color = (255, 255, 255)


class Dice:
    """Numbers that follow from a digest alone.

    Args:
        digest: of the address.
        name: of the generator, so that each throws its own.
    """

    def __init__(self, digest: str, name: str) -> None:
        data = f"{name}:{digest}".encode("utf-8", "surrogatepass")
        self._bits = int.from_bytes(hashlib.sha512(data).digest(), "big")

    def number(self, sides: int) -> int:
        """A number from 0 up to, not including, ``sides``."""
        self._bits, number = divmod(self._bits, sides)
        return number

    def pick(self, choices: Sequence[T]) -> T:
        """One of the choices."""
        return choices[self.number(len(choices))]

    def coin(self) -> bool:
        """Yes or no."""
        return bool(self.number(2))

    def color(self, saturation: float, value: float) -> Color:
        """A colour of any hue."""
        return hsv(self.number(360) / 360, saturation, value)


def hsv(hue: float, saturation: float, value: float) -> Color:
    """A colour from hue, saturation and value, each from 0 to 1."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def shade(color: Color, factor: float) -> Color:
    """A darker (below 1) or lighter (above 1) shade of a colour."""
    red, green, blue = (min(255, round(part * factor)) for part in color)
    return red, green, blue


class Canvas:
    """The unit square, drawn larger than asked for, so that edges come out smooth.

    Args:
        size: pixels of the picture.
        background: colour behind it.
    """

    def __init__(self, size: int, background: Color) -> None:
        self._size = size
        self._side = max(MIN_SIDE, 2 * size)
        self._image = Image.new("RGB", (self._side, self._side), background)
        self._draw = ImageDraw.Draw(self._image)

    def ellipse(self, x: float, y: float, rx: float, ry: float, color: Color) -> None:
        """An ellipse around a point."""
        self._draw.ellipse(self._scale([(x - rx, y - ry), (x + rx, y + ry)]), fill=color)

    def circle(self, x: float, y: float, radius: float, color: Color) -> None:
        """A circle around a point."""
        self.ellipse(x, y, radius, radius, color)

    def box(
        self, x0: float, y0: float, x1: float, y1: float, color: Color, radius: float = 0.0
    ) -> None:
        """A rectangle between two corners, perhaps with round ones."""
        corners = self._scale([(x0, y0), (x1, y1)])
        self._draw.rounded_rectangle(corners, radius=radius * self._side, fill=color)

    def polygon(self, points: Sequence[Point], color: Color) -> None:
        """A filled polygon."""
        self._draw.polygon(self._scale(points), fill=color)

    def line(self, points: Sequence[Point], color: Color, width: float) -> None:
        """A line through some points, with round ends."""
        scaled = self._scale(points)
        self._draw.line(scaled, fill=color, width=round(width * self._side), joint="curve")
        for x, y in (points[0], points[-1]):
            self.circle(x, y, width / 2, color)

    def arc(
        self, x: float, y: float, rx: float, ry: float, start: int, end: int,
        color: Color, width: float,
    ) -> None:  # fmt: skip
        """A part of an ellipse's rim, in degrees clockwise from three o'clock."""
        corners = self._scale([(x - rx, y - ry), (x + rx, y + ry)])
        self._draw.arc(corners, start, end, fill=color, width=round(width * self._side))

    def finish(self) -> Image.Image:
        """The picture in the size that was asked for."""
        return self._image.resize((self._size, self._size), Image.Resampling.LANCZOS)

    def _scale(self, points: Sequence[Point]) -> list[Point]:
        return [(x * self._side, y * self._side) for x, y in points]


def draw_pixels(
    rows: Sequence[str], palette: dict[str, Color], background: Color, size: int
) -> Image.Image:
    """A picture of coarse pixels: a letter of ``palette`` each, all else is background."""
    image = Image.new("RGB", (len(rows[0]), len(rows)), background)
    for y, row in enumerate(rows):
        for x, letter in enumerate(row):
            if letter in palette:
                image.putpixel((x, y), palette[letter])
    return image.resize((size, size), Image.Resampling.NEAREST)
