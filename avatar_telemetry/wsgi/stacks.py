"""The stacks of requests in progress: file, line and function of each frame, and no value.

    for request, frames in running_requests(thread_stacks()).items():
        stack = Stack.of(frames)

A request is found by the frame of this package that calls the application, so requests need not be
registered. While no code of the application runs, such as when the server sends a part of the
body, a request has no stack.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from avatar_telemetry.wsgi.body import Body
from avatar_telemetry.wsgi.middleware import TelemetryMiddleware
from avatar_telemetry.wsgi.request import AvatarRequest

MAX_FRAMES = 40
"""Frames of a stack; the outermost ones are omitted."""
MAX_NAME_LENGTH = 100
"""Characters of a file or a function."""
UNKNOWN = "?"
"""A file or a function whose name has unusual characters."""

_PACKAGE = os.path.join(Path(__file__).parent.parent, "")
_CALL = TelemetryMiddleware.__call__.__code__
_NEXT = Body.__next__.__code__
_RUN = Body._run.__code__
# Generated code may have any name.
_NAME = re.compile(r"[\w./<> -]+")


class Place(NamedTuple):
    """The place of a frame.

    Args:
        file: the path below the directory of ``sys.path`` from which it was imported.
        line: the number of the line.
        function: the qualified name of the function; the plain name before Python 3.11.
    """

    file: str
    line: int
    function: str


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack of the application, without frames of this package and of the server around it.

    Args:
        places: the places of its frames, from the outermost one to the innermost one.
        omitted: the number of frames outside of these that are omitted.
    """

    places: tuple[Place, ...]
    omitted: int = 0

    @classmethod
    def of(cls, frames: Sequence[FrameType]) -> Stack:
        """Return the stack of frames.

        Args:
            frames: the frames, from the innermost one to the outermost one.
        """
        own = [each for each in frames if not each.f_code.co_filename.startswith(_PACKAGE)]
        kept = tuple(map(_place, reversed(own[:MAX_FRAMES])))
        return cls(kept, len(own) - len(kept))

    @property
    def traceback(self) -> str:
        """The stack as in a traceback of Python, without source lines."""
        lines = [f'File "{file}", line {line}, in {name}' for file, line, name in self.places]
        return "\n".join([f"[{self.omitted} frames omitted]", *lines] if self.omitted else lines)

    @property
    def line(self) -> str:
        """The stack as one line."""
        parts = [f"{name} ({file}:{line})" for file, line, name in self.places]
        return " > ".join(["...", *parts] if self.omitted else parts)


def thread_stacks() -> list[FrameType]:
    """Return the innermost frame of each thread but the one that calls this function."""
    own = sys._getframe()
    return [frame for frame in sys._current_frames().values() if frame is not own]


def running_requests(stacks: Iterable[FrameType]) -> dict[AvatarRequest, list[FrameType]]:
    """Find the requests whose application runs in stacks.

    Args:
        stacks: the innermost frame of each stack.

    Returns:
        The requests, each with the frames inside of the call of its application, from the innermost
        one to the outermost one.
    """
    found: dict[AvatarRequest, list[FrameType]] = {}
    for innermost in stacks:
        inner: list[FrameType] = []
        frame: FrameType | None = innermost
        while frame is not None:
            code = frame.f_code
            if code is _CALL or code is _NEXT or code is _RUN:  # the hash of code is slow
                request = frame.f_locals.get("request")
                if isinstance(request, AvatarRequest) and not request.finished:
                    found[request] = inner.copy()
            inner.append(frame)
            frame = frame.f_back
    return found


def short_path(file: str) -> str:
    """Return the path of a file below the directory of ``sys.path`` that contains it, else its
    name.

    Args:
        file: the name of the file in the code.
    """
    if os.path.isabs(file):
        folders = (os.path.join(each, "") for each in sys.path if os.path.isabs(each))
        below = [file.removeprefix(each) for each in folders if file.startswith(each)]
        file = min(below, key=len, default=os.path.basename(file))
    return _bounded(file)


def _place(frame: FrameType) -> Place:
    code = frame.f_code
    name = getattr(code, "co_qualname", code.co_name)
    return Place(short_path(code.co_filename), frame.f_lineno or 0, _bounded(name))


def _bounded(name: str) -> str:
    return name[-MAX_NAME_LENGTH:] if _NAME.fullmatch(name) else UNKNOWN
