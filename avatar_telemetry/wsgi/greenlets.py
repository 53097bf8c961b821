"""The stacks of greenlets, which the interpreter does not list.

A greenlet that runs is on the stack of its thread; these functions return the others.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any
from weakref import ref

from avatar_telemetry._base.native import uses_greenlets

if TYPE_CHECKING:
    from avatar_telemetry.wsgi.request import AvatarRequest

SERVING: set[ref[Any]] = set()
"""The greenlets that have begun to record a request; ended ones are removed when it is read."""


def noting_greenlet(begin: Callable[..., AvatarRequest]) -> Callable[..., AvatarRequest]:
    """Return a function that begins a request and adds the current greenlet to ``SERVING``.

    Args:
        begin: the function that begins the request.
    """
    from greenlet import getcurrent

    add = SERVING.add

    def begin_in_greenlet(*args: Any) -> AvatarRequest:
        add(ref(getcurrent()))
        return begin(*args)

    return begin_in_greenlet


def serving_stacks() -> list[FrameType]:
    """Return the innermost frame of each suspended greenlet that has begun a request."""
    frames: list[FrameType] = []
    for each in SERVING.copy():
        serving = each()
        if serving is None or serving.dead:
            SERVING.discard(each)
        elif serving.gr_frame is not None:
            frames.append(serving.gr_frame)
    return frames


def suspended_stacks() -> list[FrameType]:
    """Return the innermost frame of each suspended greenlet of the process, which takes a while: it
    searches all objects. There is none unless gevent serves the requests."""
    if not uses_greenlets():
        return []
    from greenlet import greenlet

    # Not isinstance(): it would evaluate lazy objects of the application.
    found = [each for each in gc.get_objects() if issubclass(type(each), greenlet)]
    return [each.gr_frame for each in found if each.gr_frame is not None]
