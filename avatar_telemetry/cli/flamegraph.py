"""Sampled stacks as a picture (SVG), for speedscope, or as lines.

A stack is a tuple of frames, the outermost first; each frame is ``function (file:line)``.
"""

from __future__ import annotations

import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape

Stack = tuple[str, ...]
Stacks = Mapping[Stack, int]

WIDTH, ROW, MARGIN, HEAD = 1200, 18, 10, 40
"""Pixels: the picture, a frame, the space around all, and the title."""
MIN_WIDTH = 0.3
"""Pixels of a frame; a narrower one is left out."""
LETTER = 7.0
"""Pixels of a letter."""
FRAME = re.compile(r"(.*) \((.*?)(?::(\d+))?\)")
SCHEMA = "https://www.speedscope.app/file-format-schema.json"


@dataclass
class Node:
    """A frame with all samples below it.

    Args:
        name: the frame.
        samples: the number of samples.
        inner: the frames that it called, by name.
    """

    name: str
    samples: int = 0
    inner: dict[str, Node] = field(default_factory=dict)


def parse_collapsed(text: str) -> Counter[Stack]:
    """Return the stacks of lines such as ``outer (a.py:1);inner (a.py:5) 12``."""
    stacks: Counter[Stack] = Counter()
    for line in text.splitlines():
        frames, _, count = line.rpartition(" ")
        if frames and count.isdigit():  # py-spy may find a thread without a frame
            stacks[tuple(frames.split(";"))] += int(count)
    return stacks


def collapsed(stacks: Stacks) -> str:
    """Return a line for each stack, the most frequent first."""
    ordered = sorted(stacks.items(), key=lambda item: (-item[1], item[0]))
    return "".join(f"{';'.join(stack)} {count}\n" for stack, count in ordered)


def speedscope(stacks: Stacks, title: str, rate: int) -> str:
    """Return the file of https://www.speedscope.app with a weight in seconds for each stack.

    Args:
        stacks: the stacks.
        title: the name of the profile.
        rate: the samples in a second.
    """
    index: dict[str, int] = {}
    samples = [[index.setdefault(frame, len(index)) for frame in stack] for stack in stacks]
    weights = [count / rate for count in stacks.values()]
    profile = {
        "type": "sampled", "name": title, "unit": "seconds",
        "startValue": 0, "endValue": sum(weights), "samples": samples, "weights": weights,
    }  # fmt: skip
    frames = [_speedscope_frame(frame) for frame in index]
    return json.dumps(
        {"$schema": SCHEMA, "name": title, "shared": {"frames": frames}, "profiles": [profile]}
    )


def draw(stacks: Stacks, title: str) -> str:
    """Return a flame graph as SVG, with the outermost frame at the top, without a script.

    Args:
        stacks: the stacks.
        title: the line above the picture.
    """
    root = _tree(stacks)
    parts = list(_rectangles(root))
    height = HEAD + max((row for row, _ in parts), default=0) * ROW + ROW + MARGIN
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}"'
        f' viewBox="0 0 {WIDTH} {height}" font-family="monospace" font-size="11">\n'
        '<rect width="100%" height="100%" fill="#fff"/>\n'
        f'<text x="{MARGIN}" y="{HEAD - 16}" font-size="14">{escape(title)}</text>\n'
    )
    return head + "\n".join(text for _, text in parts) + "\n</svg>\n"


def _tree(stacks: Stacks) -> Node:
    root = Node("all workers")
    for stack, count in stacks.items():
        node = root
        node.samples += count
        for frame in stack:
            node = node.inner.setdefault(frame, Node(frame))
            node.samples += count
    return root


def _rectangles(root: Node) -> Iterator[tuple[int, str]]:
    """Yield the row and the elements of each frame."""
    scale = (WIDTH - 2 * MARGIN) / max(root.samples, 1)
    # Not recursive: a stack may be deeper than Python's limit.
    todo = [(root, 0, float(MARGIN))]
    while todo:
        node, row, left = todo.pop()
        width = node.samples * scale
        if width < MIN_WIDTH:
            continue
        yield row, _rectangle(node, HEAD + row * ROW, left, width, node.samples / root.samples)
        for each in sorted(node.inner.values(), key=lambda each: (-each.samples, each.name)):
            todo.append((each, row + 1, left))
            left += each.samples * scale


def _rectangle(node: Node, top: int, left: float, width: float, share: float) -> str:
    letters = int((width - 4) / LETTER)
    short = node.name if len(node.name) <= letters else f"{node.name[: max(letters - 2, 0)]}.."
    label = (
        f'<text x="{left + 3:.1f}" y="{top + ROW - 6}">{escape(short)}</text>'
        if letters > 3
        else ""
    )
    return (
        f"<g><title>{escape(node.name)}: {node.samples} samples, {share:.1%}</title>"
        f'<rect x="{left:.1f}" y="{top}" width="{max(width - 0.5, 0.2):.1f}" height="{ROW - 1}"'
        f' rx="1" fill="{_colour(node.name)}"/>{label}</g>'
    )


def _colour(name: str) -> str:
    """Return a colour for all frames of a file."""
    found = FRAME.fullmatch(name)
    number = zlib.crc32((found[2] if found else name).encode("utf-8", "replace"))
    return f"hsl({number % 60},{60 + number // 60 % 30}%,{66 + number // 1800 % 14}%)"


def _speedscope_frame(frame: str) -> dict[str, str | int]:
    found = FRAME.fullmatch(frame)
    if found is None:
        return {"name": frame}
    line = {"line": int(found[3])} if found[3] else {}
    return {"name": found[1], "file": found[2], **line}
