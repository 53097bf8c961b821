"""Flame graphs: sampled stacks as a picture, for speedscope, and as lines."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from avatar_telemetry.cli.flamegraph import (
    MARGIN,
    WIDTH,
    Stack,
    collapsed,
    draw,
    parse_collapsed,
    speedscope,
)

OUTER, DRAW, SAVE = "serve (server.py:1)", "draw <b> (a/draw.py:5)", "save (a/draw.py:9)"
STACKS = {(OUTER, DRAW): 3, (OUTER, SAVE): 1}
SVG = "{http://www.w3.org/2000/svg}"


def boxes(picture: str) -> dict[str, tuple[float, float, float]]:
    """The left side, the top and the width of each frame, by its title."""
    found = {}
    for group in ElementTree.fromstring(picture).iter(f"{SVG}g"):
        title, box = group.find(f"{SVG}title"), group.find(f"{SVG}rect")
        assert title is not None and box is not None
        x, y, width = (float(box.attrib[name]) for name in ("x", "y", "width"))
        found[str(title.text).partition(":")[0] if ": " not in str(title.text)
              else str(title.text).rpartition(": ")[0]] = (x, y, width)  # fmt: skip
    return found


def test_lines_are_read_and_written() -> None:
    """Stacks that occur in several files are added up; a line that is none is left out."""
    text = f"{OUTER};{DRAW} 2\n{OUTER};{SAVE} 1\nnot a stack\n 3\n"
    found = parse_collapsed(text) + parse_collapsed(f"{OUTER};{DRAW} 1\n")
    assert found == STACKS
    assert collapsed(found) == f"{OUTER};{DRAW} 3\n{OUTER};{SAVE} 1\n"


def test_the_picture() -> None:
    """A frame is as wide as its share, below its caller, the most frequent first."""
    found = boxes(draw(STACKS, "4 samples of <x>"))
    whole = WIDTH - 2 * MARGIN
    left, top, width = found[OUTER]
    assert (left, width) == pytest.approx((MARGIN, whole), abs=1)
    assert found[DRAW][0] == pytest.approx(left)
    assert found[DRAW][2] == pytest.approx(whole * 3 / 4, abs=1)
    assert found[SAVE][0] == pytest.approx(left + whole * 3 / 4, abs=1)
    assert found["all workers"][1] < top < found[DRAW][1] == found[SAVE][1]


@pytest.mark.parametrize(
    "stacks",
    [
        pytest.param({}, id="none"),
        pytest.param({tuple(f"f{number} (a.py:1)" for number in range(3000)): 1}, id="deep"),
        pytest.param({("no place",): 1, ("",): 2}, id="odd names"),
        pytest.param({(OUTER,): 100_000, (SAVE,): 1}, id="too narrow"),
    ],
)
def test_any_stacks_are_a_picture(stacks: dict[Stack, int]) -> None:
    """No stacks, very deep ones and odd names give well-formed SVG without a script."""
    picture = draw(stacks, "title")
    assert ElementTree.fromstring(picture).tag == f"{SVG}svg"
    assert "script" not in picture
    assert SAVE not in picture


def test_speedscope() -> None:
    """Each frame is listed once, with file and line; weights are seconds."""
    found = json.loads(speedscope(STACKS, "title", rate=100))
    frames = found["shared"]["frames"]
    assert frames == [
        {"name": "serve", "file": "server.py", "line": 1},
        {"name": "draw <b>", "file": "a/draw.py", "line": 5},
        {"name": "save", "file": "a/draw.py", "line": 9},
    ]
    (profile,) = found["profiles"]
    assert profile["samples"] == [[0, 1], [0, 2]]
    assert profile["weights"] == [0.03, 0.01]
    assert profile["endValue"] == pytest.approx(0.04)
