"""Generated avatars: one class a style, each picture determined by the digest."""

from __future__ import annotations

import math
from typing import Protocol

from PIL import Image

from avatar_telemetry.demo.canvas import (
    INK,
    WHITE,
    Canvas,
    Color,
    Dice,
    Point,
    draw_pixels,
    hsv,
    shade,
)


class Generator(Protocol):
    """What draws a picture for a digest."""

    def draw(self, digest: str, size: int) -> Image.Image:
        """A square picture of ``size`` pixels, always the same for the same digest."""


class Identicon:
    """A quilt of nine patches, turned around its middle."""

    PATCHES: tuple[tuple[Point, ...], ...] = (
        ((0, 0), (1, 0), (1, 1)),
        ((0, 0), (1, 0), (0.5, 1)),
        ((0.5, 0), (1, 0.5), (0.5, 1), (0, 0.5)),
        ((0, 0), (0.5, 0), (0.5, 1), (0, 1)),
        ((0, 0), (1, 0.5), (0, 1)),
        ((0, 0), (0.5, 0), (1, 1), (0, 0.5)),
        ((0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75)),
        ((0, 1), (0.5, 0), (1, 1), (0.5, 0.6)),
        ((0, 0), (1, 0), (0, 1), (0.35, 0.35)),
    )
    CORNERS = ((0, 0), (2, 0), (2, 2), (0, 2))
    SIDES = ((1, 0), (2, 1), (1, 2), (0, 1))

    def draw(self, digest: str, size: int) -> Image.Image:
        """A square picture of ``size`` pixels, always the same for the same digest."""
        dice = Dice(digest, "identicon")
        canvas = Canvas(size, (246, 246, 248))
        for cells, color in (
            (self.CORNERS, dice.color(0.65, 0.72)),
            (self.SIDES, dice.color(0.5, 0.85)),
        ):
            patch, turn = dice.pick(self.PATCHES), dice.number(4)
            for quarter, cell in enumerate(cells):
                self._draw_patch(canvas, patch, cell, quarter + turn, color)
        self._draw_patch(canvas, dice.pick(self.PATCHES[2:7]), (1, 1), 0, dice.color(0.8, 0.5))
        return canvas.finish()

    @staticmethod
    def _draw_patch(
        canvas: Canvas, patch: tuple[Point, ...], cell: tuple[int, int], quarter: int, color: Color
    ) -> None:
        points = []
        for x, y in patch:
            for _ in range(quarter % 4):
                x, y = 1 - y, x
            points.append((0.05 + (cell[0] + x) * 0.3, 0.05 + (cell[1] + y) * 0.3))
        canvas.polygon(points, color)


class Monster:
    """A friendly monster with one to three eyes."""

    def draw(self, digest: str, size: int) -> Image.Image:
        """A square picture of ``size`` pixels, always the same for the same digest."""
        dice = Dice(digest, "monster")
        skin = dice.color(0.6, 0.85)
        canvas = Canvas(size, dice.color(0.12, 0.98))
        self._draw_limbs(canvas, dice, shade(skin, 0.75))
        self._draw_horns(canvas, dice, dice.color(0.25, 0.95))
        self._draw_body(canvas, dice, skin)
        self._draw_eyes(canvas, dice)
        self._draw_mouth(canvas, dice)
        return canvas.finish()

    @staticmethod
    def _draw_limbs(canvas: Canvas, dice: Dice, color: Color) -> None:
        hand = dice.pick((0.45, 0.6, 0.78))
        for side in (-1, 1):
            canvas.line([(0.5, 0.6), (0.5 + side * 0.41, hand)], color, 0.09)
            canvas.line([(0.5 + side * 0.14, 0.7), (0.5 + side * 0.16, 0.93)], color, 0.12)

    @staticmethod
    def _draw_horns(canvas: Canvas, dice: Dice, color: Color) -> None:
        kind = dice.number(3)
        for side in (-1, 1):
            root, tip = 0.5 + side * 0.16, (0.5 + side * (0.2 + 0.05 * kind), 0.06)
            if kind == 1:
                canvas.line([(root, 0.3), tip], INK, 0.03)
                canvas.circle(*tip, 0.05, color)
            else:
                canvas.polygon([(root - 0.08, 0.3), tip, (root + 0.08, 0.3)], color)

    @staticmethod
    def _draw_body(canvas: Canvas, dice: Dice, skin: Color) -> None:
        if dice.coin():
            canvas.ellipse(0.5, 0.53, 0.31, 0.36, skin)
        else:
            canvas.box(0.2, 0.2, 0.8, 0.86, skin, radius=0.2)
        canvas.ellipse(0.5, 0.72, 0.17, 0.12, shade(skin, 1.2))
        for _ in range(dice.number(4)):
            spot = (0.28 + dice.number(45) / 100, 0.28 + dice.number(12) / 100)
            canvas.circle(*spot, 0.025, shade(skin, 0.8))

    @staticmethod
    def _draw_eyes(canvas: Canvas, dice: Dice) -> None:
        eyes = dice.pick(((0.5,), (0.38, 0.62), (0.3, 0.5, 0.7)))
        radius = dice.pick((0.075, 0.09)) + (0.05 if len(eyes) == 1 else 0.0)
        look = dice.pick((-0.3, 0.0, 0.3)) * radius
        for x in eyes:
            canvas.circle(x, 0.42, radius, WHITE)
            canvas.circle(x + look, 0.43, radius * 0.5, INK)
            canvas.circle(x + look - radius * 0.15, 0.41, radius * 0.15, WHITE)

    @staticmethod
    def _draw_mouth(canvas: Canvas, dice: Dice) -> None:
        if dice.coin():
            canvas.arc(0.5, 0.56, 0.15, 0.1, 10, 170, INK, 0.025)
            return
        canvas.box(0.34, 0.59, 0.66, 0.67, (120, 30, 45), radius=0.04)
        for tooth in range(1 + dice.number(4)):
            x = 0.38 + tooth * 0.07
            canvas.polygon([(x, 0.59), (x + 0.05, 0.59), (x + 0.025, 0.64)], WHITE)


class Robot:
    """A robot's head and shoulders."""

    def draw(self, digest: str, size: int) -> Image.Image:
        """A square picture of ``size`` pixels, always the same for the same digest."""
        dice = Dice(digest, "robot")
        metal = dice.color(0.35, 0.8)
        glow = dice.color(0.85, 1.0)
        canvas = Canvas(size, dice.color(0.15, 0.3))
        self._draw_body(canvas, dice, metal, glow)
        self._draw_antenna(canvas, dice, glow)
        canvas.box(0.2, 0.22, 0.8, 0.72, metal, radius=dice.pick((0.03, 0.1, 0.2)))
        self._draw_eyes(canvas, dice, glow)
        self._draw_mouth(canvas, dice, shade(metal, 0.45))
        return canvas.finish()

    @staticmethod
    def _draw_body(canvas: Canvas, dice: Dice, metal: Color, glow: Color) -> None:
        dark = shade(metal, 0.7)
        canvas.box(0.42, 0.68, 0.58, 0.85, shade(metal, 0.5))
        canvas.box(0.15, 0.81, 0.85, 1.1, dark, radius=0.08)
        canvas.circle(0.5, 0.92, 0.05, glow)
        for side in (-1, 1):
            canvas.circle(0.5 + side * 0.31, 0.47, dice.pick((0.06, 0.08)), dark)

    @staticmethod
    def _draw_antenna(canvas: Canvas, dice: Dice, glow: Color) -> None:
        for x in dice.pick(((0.5,), (0.35, 0.65), (0.3,))):
            canvas.line([(x, 0.24), (x + dice.pick((-0.04, 0.0, 0.04)), 0.1)], WHITE, 0.025)
            canvas.circle(x, 0.09, 0.04, glow)

    @staticmethod
    def _draw_eyes(canvas: Canvas, dice: Dice, glow: Color) -> None:
        kind = dice.number(3)
        if kind == 0:
            canvas.box(0.27, 0.34, 0.73, 0.48, INK, radius=0.07)
            canvas.circle(0.35 + dice.number(31) / 100, 0.41, 0.05, glow)
            return
        for x in (0.37, 0.63):
            if kind == 1:
                canvas.circle(x, 0.41, 0.1, INK)
                canvas.circle(x, 0.41, 0.06, glow)
            else:
                canvas.box(x - 0.09, 0.34, x + 0.09, 0.48, INK, radius=0.02)
                canvas.box(x - 0.05, 0.37, x + 0.05, 0.45, glow, radius=0.01)

    @staticmethod
    def _draw_mouth(canvas: Canvas, dice: Dice, color: Color) -> None:
        canvas.box(0.32, 0.56, 0.68, 0.66, color, radius=0.03)
        bars = 3 + dice.number(4)
        for bar in range(1, bars):
            x = 0.32 + 0.36 * bar / bars
            canvas.line([(x, 0.57), (x, 0.65)], WHITE, 0.012)


class Retro:
    """A mirrored pattern of seven by seven pixels, as old games had them."""

    def draw(self, digest: str, size: int) -> Image.Image:
        """A square picture of ``size`` pixels, always the same for the same digest."""
        dice = Dice(digest, "retro")
        hue = dice.number(360) / 360
        palette = {"a": hsv(hue, 0.6, 0.95), "b": hsv(hue + 0.4, 0.5, 0.9)}
        rows = ["." * 9]
        for _ in range(7):
            half = "".join(dice.pick("..aaab") for _ in range(4))
            rows.append(f".{half}{half[-2::-1]}.")
        rows.append("." * 9)
        return draw_pixels(rows, palette, hsv(hue, 0.4, 0.2), size)


class Pagan:
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

    def draw(self, digest: str, size: int) -> Image.Image:
        """A square picture of ``size`` pixels, always the same for the same digest."""
        dice = Dice(digest, "pagan")
        palette = {
            "h": dice.color(0.25, 0.7),
            "a": dice.color(0.6, 0.75),
            "c": dice.color(0.8, 0.95),
            "b": dice.color(0.6, 0.4),
            "s": dice.pick(((255, 219, 172), (224, 172, 105), (141, 85, 36), (130, 190, 120))),
            "k": INK,
            "w": (205, 210, 220),
        }
        rows = ["." * 16, *dice.pick(self.HELMETS), *dice.pick(self.FACES)]
        rows += [*dice.pick(self.BODIES), *self.LEGS, "." * 16]
        return draw_pixels(self._arm(rows, dice), palette, dice.color(0.1, 0.95), size)

    @staticmethod
    def _arm(rows: list[str], dice: Dice) -> list[str]:
        top, side = dice.pick((4, 6, 8)), dice.pick((0, 15))
        for y in range(top, 14):
            letter = "b" if y > 10 else "w"
            rows[y] = rows[y][:side] + letter + rows[y][side + 1 :]
        inner = 1 if side == 0 else 14
        rows[11] = rows[11][:inner] + "c" + rows[11][inner + 1 :]
        return rows


class Wavatar:
    """A geometric face before a geometric background."""

    def draw(self, digest: str, size: int) -> Image.Image:
        """A square picture of ``size`` pixels, always the same for the same digest."""
        dice = Dice(digest, "wavatar")
        hue = dice.number(360) / 360
        canvas = Canvas(size, hsv(hue, 0.35, 0.95))
        self._draw_rays(canvas, dice, hsv(hue, 0.5, 0.85))
        self._draw_head(canvas, dice, hsv(hue + 0.3 + dice.number(40) / 100, 0.55, 0.95))
        self._draw_eyes(canvas, dice)
        self._draw_mouth(canvas, dice)
        return canvas.finish()

    @staticmethod
    def _draw_rays(canvas: Canvas, dice: Dice, color: Color) -> None:
        rays = dice.pick((6, 8, 12))
        for ray in range(rays):
            start, end = (2 * math.pi * (ray + part) / rays for part in (0.0, 0.5))
            points = [(0.5 + math.cos(a), 0.5 + math.sin(a)) for a in (start, end)]
            canvas.polygon([(0.5, 0.5), *points], color)

    @staticmethod
    def _draw_head(canvas: Canvas, dice: Dice, color: Color) -> None:
        corners = dice.pick((0, 3, 5, 6, 8))
        if corners == 0:
            canvas.circle(0.5, 0.52, 0.34, color)
            return
        turns = [2 * math.pi * corner / corners - math.pi / 2 for corner in range(corners)]
        radius = 0.5 if corners == 3 else 0.39
        canvas.polygon(
            [(0.5 + radius * math.cos(t), 0.54 + radius * math.sin(t)) for t in turns], color
        )

    @staticmethod
    def _draw_eyes(canvas: Canvas, dice: Dice) -> None:
        slant, brow = dice.pick((-0.04, 0.0, 0.04)), dice.coin()
        pupil = dice.pick(((0.025, 0.025), (0.02, 0.045), (0.045, 0.02)))
        for side in (-1, 1):
            x = 0.5 + side * 0.12
            canvas.ellipse(x, 0.48, 0.075, 0.065, WHITE)
            canvas.ellipse(x, 0.485, *pupil, INK)
            if brow:
                outer, inner = 0.5 + side * 0.2, 0.5 + side * 0.05
                canvas.line([(outer, 0.38 - slant), (inner, 0.38 + slant)], INK, 0.025)

    @staticmethod
    def _draw_mouth(canvas: Canvas, dice: Dice) -> None:
        kind = dice.number(4)
        if kind == 0:
            canvas.arc(0.5, 0.6, 0.13, 0.1, 15, 165, INK, 0.025)
        elif kind == 1:
            canvas.line([(0.42, 0.67), (0.58, 0.67)], INK, 0.025)
        elif kind == 2:
            canvas.ellipse(0.5, 0.67, 0.06, 0.05, (130, 35, 50))
        else:
            canvas.box(0.39, 0.63, 0.61, 0.71, INK, radius=0.03)
            canvas.box(0.4, 0.64, 0.6, 0.67, WHITE)


class Silhouette:
    """Somebody unknown, before a tint of the digest's own."""

    def draw(self, digest: str, size: int) -> Image.Image:
        """A square picture of ``size`` pixels, always the same for the same digest."""
        dice = Dice(digest, "silhouette")
        canvas = Canvas(size, hsv(dice.number(360) / 360, 0.25, 0.6 + dice.number(24) / 100))
        canvas.circle(0.5, 0.38, 0.2, WHITE)
        canvas.ellipse(0.5, 1.02, 0.38, 0.38, WHITE)
        return canvas.finish()


GENERATORS: dict[str, Generator] = {
    "identicon": Identicon(),
    "monsterid": Monster(),
    "robohash": Robot(),
    "retro": Retro(),
    "pagan": Pagan(),
    "wavatar": Wavatar(),
    "mmng": Silhouette(),
}
