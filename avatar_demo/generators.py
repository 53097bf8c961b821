"""Generated avatars: one class per style; a picture depends on the digest alone."""

from __future__ import annotations

import colorsys
import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeVar

from PIL import Image, ImageDraw

T = TypeVar("T")
Color = tuple[int, int, int]
Point = tuple[float, float]

MIN_SIDE = 256
INK, WHITE = (38, 38, 48), (255, 255, 255)


def hsv(hue: float, saturation: float, value: float) -> Color:
    """Return a colour from hue, saturation and value, each from 0 to 1."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def shade(color: Color, factor: float) -> Color:
    """Return a darker (factor below 1) or lighter (above 1) shade of a colour."""
    red, green, blue = (min(255, round(part * factor)) for part in color)
    return red, green, blue


class Sketch:
    """A picture of the unit square, and numbers derived from a text.

    It is drawn larger than requested, so that edges are smooth.

    Args:
        text: the text that determines all numbers.
        size: the side of the picture, in pixels.
    """

    def __init__(self, text: str, size: int) -> None:
        digest = hashlib.sha512(text.encode("utf-8", "surrogatepass")).digest()
        self._bits = int.from_bytes(digest, "big")
        self._size, self._side = size, max(MIN_SIDE, 2 * size)
        self._image = Image.new("RGB", (self._side, self._side))
        self._draw = ImageDraw.Draw(self._image)

    def number(self, end: int) -> int:
        """Return a number from 0 up to, not including, ``end``."""
        self._bits, number = divmod(self._bits, end)
        return number

    def pick(self, choices: Sequence[T]) -> T:
        """Return one of the choices."""
        return choices[self.number(len(choices))]

    def color(self, saturation: float, value: float) -> Color:
        """Return a colour of any hue."""
        return hsv(self.number(360) / 360, saturation, value)

    def fill(self, color: Color) -> None:
        """Fill the whole picture."""
        self._image.paste(color, (0, 0, self._side, self._side))

    def ellipse(self, x: float, y: float, rx: float, ry: float, color: Color) -> None:
        """Draw an ellipse around a point."""
        self._draw.ellipse(self._scale((x - rx, y - ry), (x + rx, y + ry)), fill=color)

    def circle(self, x: float, y: float, radius: float, color: Color) -> None:
        """Draw a circle around a point."""
        self.ellipse(x, y, radius, radius, color)

    def box(
        self, x0: float, y0: float, x1: float, y1: float, color: Color, radius: float = 0.0
    ) -> None:
        """Draw a rectangle between two corners, with rounded corners for a radius above 0."""
        corners = self._scale((x0, y0), (x1, y1))
        self._draw.rounded_rectangle(corners, radius=radius * self._side, fill=color)

    def polygon(self, points: Sequence[Point], color: Color) -> None:
        """Draw a filled polygon."""
        self._draw.polygon(self._scale(*points), fill=color)

    def line(self, start: Point, end: Point, color: Color, width: float) -> None:
        """Draw a line with round ends."""
        points = self._scale(start, end)
        self._draw.line(points, fill=color, width=round(width * self._side), joint="curve")
        for x, y in (start, end):
            self.circle(x, y, width / 2, color)

    def arc(self, x: float, y: float, rx: float, ry: float, start: int, end: int) -> None:
        """Draw a part of the outline of an ellipse, in degrees clockwise from three o'clock."""
        corners = self._scale((x - rx, y - ry), (x + rx, y + ry))
        self._draw.arc(corners, start, end, fill=INK, width=round(0.025 * self._side))

    def pixels(
        self, rows: Sequence[str], palette: dict[str, Color], background: Color
    ) -> Image.Image:
        """Return a picture of coarse pixels, each a letter of the palette or background."""
        image = Image.new("RGB", (len(rows[0]), len(rows)))
        image.putdata([palette.get(letter, background) for row in rows for letter in row])
        return image.resize((self._size, self._size), Image.Resampling.NEAREST)

    def finish(self) -> Image.Image:
        """Return the picture in the requested size."""
        return self._image.resize((self._size, self._size), Image.Resampling.LANCZOS)

    def _scale(self, *points: Point) -> list[Point]:
        return [(x * self._side, y * self._side) for x, y in points]


class Generator(ABC):
    """A style of generated avatars."""

    def draw(self, digest: str, size: int) -> Image.Image:
        """Return a square picture of ``size`` pixels, the same for equal digests."""
        sketch = Sketch(f"{type(self).__name__.lower()}:{digest}", size)
        return self.paint(sketch) or sketch.finish()

    @abstractmethod
    def paint(self, sketch: Sketch) -> Image.Image | None:
        """Draw on the sketch, or return another picture."""


class Identicon(Generator):
    """Nine patches, symmetric around the middle."""

    PATCHES: tuple[tuple[Point, ...], ...] = (
        ((0, 0), (1, 0), (1, 1)), ((0, 0), (1, 0), (0.5, 1)),
        ((0.5, 0), (1, 0.5), (0.5, 1), (0, 0.5)), ((0, 0), (0.5, 0), (0.5, 1), (0, 1)),
        ((0, 0), (1, 0.5), (0, 1)), ((0, 0), (0.5, 0), (1, 1), (0, 0.5)),
        ((0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75)),
        ((0, 1), (0.5, 0), (1, 1), (0.5, 0.6)), ((0, 0), (1, 0), (0, 1), (0.35, 0.35)),
    )  # fmt: skip
    CORNERS = ((0, 0), (2, 0), (2, 2), (0, 2))
    SIDES = ((1, 0), (2, 1), (1, 2), (0, 1))

    def paint(self, sketch: Sketch) -> None:
        sketch.fill((246, 246, 248))
        colors = sketch.color(0.65, 0.72), sketch.color(0.5, 0.85)
        for cells, color in zip((self.CORNERS, self.SIDES), colors, strict=True):
            patch, turn = sketch.pick(self.PATCHES), sketch.number(4)
            for quarter, cell in enumerate(cells):
                self._draw_patch(sketch, patch, cell, (quarter + turn) % 4, color)
        self._draw_patch(sketch, sketch.pick(self.PATCHES[2:7]), (1, 1), 0, sketch.color(0.8, 0.5))

    @staticmethod
    def _draw_patch(
        sketch: Sketch, patch: Sequence[Point], cell: Point, quarter: int, color: Color
    ) -> None:
        points = []
        for x, y in patch:
            for _ in range(quarter):
                x, y = 1 - y, x
            points.append((0.05 + (cell[0] + x) * 0.3, 0.05 + (cell[1] + y) * 0.3))
        sketch.polygon(points, color)


class Monster(Generator):
    """A monster with one to three eyes."""

    def paint(self, sketch: Sketch) -> None:
        skin = sketch.color(0.6, 0.85)
        sketch.fill(sketch.color(0.12, 0.98))
        self._draw_limbs(sketch, shade(skin, 0.75))
        self._draw_body(sketch, skin)
        self._draw_eyes(sketch)
        self._draw_mouth(sketch)

    @staticmethod
    def _draw_limbs(sketch: Sketch, color: Color) -> None:
        hand = sketch.pick((0.45, 0.6, 0.78))
        for side in (-1, 1):
            sketch.line((0.5, 0.6), (0.5 + side * 0.41, hand), color, 0.09)
            sketch.line((0.5 + side * 0.14, 0.7), (0.5 + side * 0.16, 0.93), color, 0.12)
        horn, kind = sketch.color(0.25, 0.95), sketch.number(3)
        for side in (-1, 1):
            root, tip = 0.5 + side * 0.16, (0.5 + side * (0.2 + 0.05 * kind), 0.06)
            if kind == 1:
                sketch.line((root, 0.3), tip, INK, 0.03)
                sketch.circle(*tip, 0.05, horn)
            else:
                sketch.polygon([(root - 0.08, 0.3), tip, (root + 0.08, 0.3)], horn)

    @staticmethod
    def _draw_body(sketch: Sketch, skin: Color) -> None:
        if sketch.number(2):
            sketch.ellipse(0.5, 0.53, 0.31, 0.36, skin)
        else:
            sketch.box(0.2, 0.2, 0.8, 0.86, skin, radius=0.2)
        sketch.ellipse(0.5, 0.72, 0.17, 0.12, shade(skin, 1.2))
        for _ in range(sketch.number(4)):
            spot = (0.28 + sketch.number(45) / 100, 0.28 + sketch.number(12) / 100)
            sketch.circle(*spot, 0.025, shade(skin, 0.8))

    @staticmethod
    def _draw_eyes(sketch: Sketch) -> None:
        eyes = sketch.pick(((0.5,), (0.38, 0.62), (0.3, 0.5, 0.7)))
        radius = sketch.pick((0.075, 0.09)) + (0.05 if len(eyes) == 1 else 0.0)
        look = sketch.pick((-0.3, 0.0, 0.3)) * radius
        for x in eyes:
            sketch.circle(x, 0.42, radius, WHITE)
            sketch.circle(x + look, 0.43, radius * 0.5, INK)
            sketch.circle(x + look - radius * 0.15, 0.41, radius * 0.15, WHITE)

    @staticmethod
    def _draw_mouth(sketch: Sketch) -> None:
        if sketch.number(2):
            sketch.arc(0.5, 0.56, 0.15, 0.1, 10, 170)
            return
        sketch.box(0.34, 0.59, 0.66, 0.67, (120, 30, 45), radius=0.04)
        for tooth in range(1 + sketch.number(4)):
            x = 0.38 + tooth * 0.07
            sketch.polygon([(x, 0.59), (x + 0.05, 0.59), (x + 0.025, 0.64)], WHITE)


class Robot(Generator):
    """The head and shoulders of a robot."""

    def paint(self, sketch: Sketch) -> None:
        metal, glow = sketch.color(0.35, 0.8), sketch.color(0.85, 1.0)
        sketch.fill(sketch.color(0.15, 0.3))
        self._draw_body(sketch, metal, glow)
        sketch.box(0.2, 0.22, 0.8, 0.72, metal, radius=sketch.pick((0.03, 0.1, 0.2)))
        self._draw_eyes(sketch, glow)
        sketch.box(0.32, 0.56, 0.68, 0.66, shade(metal, 0.45), radius=0.03)
        bars = 3 + sketch.number(4)
        for bar in range(1, bars):
            x = 0.32 + 0.36 * bar / bars
            sketch.line((x, 0.57), (x, 0.65), WHITE, 0.012)

    @staticmethod
    def _draw_body(sketch: Sketch, metal: Color, glow: Color) -> None:
        dark = shade(metal, 0.7)
        sketch.box(0.42, 0.68, 0.58, 0.85, shade(metal, 0.5))
        sketch.box(0.15, 0.81, 0.85, 1.1, dark, radius=0.08)
        sketch.circle(0.5, 0.92, 0.05, glow)
        for side in (-1, 1):
            sketch.circle(0.5 + side * 0.31, 0.47, sketch.pick((0.06, 0.08)), dark)
        for x in sketch.pick(((0.5,), (0.35, 0.65), (0.3,))):
            sketch.line((x, 0.24), (x + sketch.pick((-0.04, 0.0, 0.04)), 0.1), WHITE, 0.025)
            sketch.circle(x, 0.09, 0.04, glow)

    @staticmethod
    def _draw_eyes(sketch: Sketch, glow: Color) -> None:
        kind = sketch.number(3)
        if kind == 0:
            sketch.box(0.27, 0.34, 0.73, 0.48, INK, radius=0.07)
            sketch.circle(0.35 + sketch.number(31) / 100, 0.41, 0.05, glow)
            return
        for x in (0.37, 0.63):
            if kind == 1:
                sketch.circle(x, 0.41, 0.1, INK)
                sketch.circle(x, 0.41, 0.06, glow)
            else:
                sketch.box(x - 0.09, 0.34, x + 0.09, 0.48, INK, radius=0.02)
                sketch.box(x - 0.05, 0.37, x + 0.05, 0.45, glow, radius=0.01)


class Retro(Generator):
    """A symmetric pattern of seven by seven pixels."""

    def paint(self, sketch: Sketch) -> Image.Image:
        hue = sketch.number(360) / 360
        palette = {"a": hsv(hue, 0.6, 0.95), "b": hsv(hue + 0.4, 0.5, 0.9)}
        halves = ["".join(sketch.pick("..aaab") for _ in range(4)) for _ in range(7)]
        rows = ["." * 9, *(f".{half}{half[-2::-1]}." for half in halves), "." * 9]
        return sketch.pixels(rows, palette, hsv(hue, 0.4, 0.2))


class Pagan(Generator):
    """A small warrior of pixels with helmet, armour and weapon."""

    HELMETS = (
        ("....hhhhhhhh....", "...hhhhhhhhhh...", "...hhhhhhhhhh..."),
        (".hh...hhhh...hh.", "..hhhhhhhhhhhh..", "...hhhhhhhhhh..."),
        (".......cc.......", "....hhhcchhh....", "...hhhhcchhhh..."),
        ("...c........c...", "...ccc.cc.ccc...", "...cccccccccc..."),
    )
    FACES = (
        ("...hssssssssh...", "...hskssssksh...", "...hssssssssh...", "....sskkkkss...."),
        ("...hhhhhhhhhh...", "...hkkkhhkkkh...", "...hhhhhhhhhh...", "....hhkhhkhh...."),
        ("...ssssssssss...", "...skksssskks...", "...bssssssssb...", "....bbbbbbbb...."),
    )
    BODIES = (
        ("..aaaaaaaaaaaa..", "..aaacaaaacaaa..", "..ssaaaaaaaass..", "...scccccccc.s.."),
        (".aaaa.aaaa.aaaa.", ".aaaaaaccaaaaaa.", "..sssaaccaaass..", "..ss.aaaaaa.ss.."),
        ("..cccccccccccc..", "..cacacacacacc..", "..ssacacacacss..", "..ss.cccccc.ss.."),
    )
    LEGS = ("....aaa..aaa....", "....aaa..aaa....", "...bbbb..bbbb...")
    SKINS = ((255, 219, 172), (224, 172, 105), (141, 85, 36), (130, 190, 120))

    def paint(self, sketch: Sketch) -> Image.Image:
        palette = {
            "h": sketch.color(0.25, 0.7), "a": sketch.color(0.6, 0.75),
            "c": sketch.color(0.8, 0.95), "b": sketch.color(0.6, 0.4),
            "s": sketch.pick(self.SKINS), "k": INK, "w": (205, 210, 220),
        }  # fmt: skip
        rows = ["." * 16, *sketch.pick(self.HELMETS), *sketch.pick(self.FACES)]
        rows += [*sketch.pick(self.BODIES), *self.LEGS, "." * 16]
        top, side = sketch.pick((4, 6, 8)), sketch.pick((0, 15))
        cells = [list(row) for row in rows]
        for y in range(top, 14):
            cells[y][side] = "b" if y > 10 else "w"
        cells[11][1 if side == 0 else 14] = "c"
        armed = ["".join(row) for row in cells]
        return sketch.pixels(armed, palette, sketch.color(0.1, 0.95))


class Wavatar(Generator):
    """A geometric face on a geometric background."""

    def paint(self, sketch: Sketch) -> None:
        hue = sketch.number(360) / 360
        sketch.fill(hsv(hue, 0.35, 0.95))
        rays = sketch.pick((6, 8, 12))
        for ray in range(rays):
            points = [self._at((ray + part) / rays, 1.0) for part in (0.0, 0.5)]
            sketch.polygon([(0.5, 0.5), *points], hsv(hue, 0.5, 0.85))
        self._draw_head(sketch, hsv(hue + 0.3 + sketch.number(40) / 100, 0.55, 0.95))
        self._draw_eyes(sketch)
        self._draw_mouth(sketch)

    @staticmethod
    def _at(turn: float, radius: float, y: float = 0.5) -> Point:
        angle = 2 * math.pi * turn
        return 0.5 + radius * math.cos(angle), y + radius * math.sin(angle)

    def _draw_head(self, sketch: Sketch, color: Color) -> None:
        corners = sketch.pick((0, 3, 5, 6, 8))
        if corners == 0:
            sketch.circle(0.5, 0.52, 0.34, color)
            return
        radius = 0.5 if corners == 3 else 0.39
        turns = [corner / corners - 0.25 for corner in range(corners)]
        sketch.polygon([self._at(turn, radius, 0.54) for turn in turns], color)

    @staticmethod
    def _draw_eyes(sketch: Sketch) -> None:
        slant, brow = sketch.pick((-0.04, 0.0, 0.04)), sketch.number(2)
        pupil = sketch.pick(((0.025, 0.025), (0.02, 0.045), (0.045, 0.02)))
        for side in (-1, 1):
            x = 0.5 + side * 0.12
            sketch.ellipse(x, 0.48, 0.075, 0.065, WHITE)
            sketch.ellipse(x, 0.485, *pupil, INK)
            if brow:
                outer, inner = 0.5 + side * 0.2, 0.5 + side * 0.05
                sketch.line((outer, 0.38 - slant), (inner, 0.38 + slant), INK, 0.025)

    @staticmethod
    def _draw_mouth(sketch: Sketch) -> None:
        kind = sketch.number(4)
        if kind == 0:
            sketch.arc(0.5, 0.6, 0.13, 0.1, 15, 165)
        elif kind == 1:
            sketch.line((0.42, 0.67), (0.58, 0.67), INK, 0.025)
        elif kind == 2:
            sketch.ellipse(0.5, 0.67, 0.06, 0.05, (130, 35, 50))
        else:
            sketch.box(0.39, 0.63, 0.61, 0.71, INK, radius=0.03)
            sketch.box(0.4, 0.64, 0.6, 0.67, WHITE)


class Silhouette(Generator):
    """A silhouette of a person on a colour of the digest."""

    def paint(self, sketch: Sketch) -> None:
        sketch.fill(hsv(sketch.number(360) / 360, 0.25, 0.6 + sketch.number(24) / 100))
        sketch.circle(0.5, 0.38, 0.2, WHITE)
        sketch.ellipse(0.5, 1.02, 0.38, 0.38, WHITE)


GENERATORS: dict[str, Generator] = {
    "identicon": Identicon(), "monsterid": Monster(), "robohash": Robot(), "retro": Retro(),
    "pagan": Pagan(), "wavatar": Wavatar(), "mmng": Silhouette(),
}  # fmt: skip
