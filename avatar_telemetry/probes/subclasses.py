"""Observed classes for drivers whose connections and cursors are written in C.

Such a class cannot be patched, but ``connect`` accepts another one: a subclass of the application's
class and of ours, in this order, so that ``super()`` in the application's class calls ours.
``isinstance`` holds, and nothing is a proxy.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any


@lru_cache(maxsize=256)
def observed_class(given: Any, base: type, ours: type) -> Any:
    """Return the class to use instead of ``given``.

    Args:
        given: the class that the application requested; anything else is returned unchanged.
        base: the class of the driver.
        ours: the observed subclass of it.
    """
    if given is None or given is base:
        return ours
    if not (isinstance(given, type) and issubclass(given, base)) or issubclass(given, ours):
        return given
    try:
        return type(given.__name__, (given, ours), {"__module__": given.__module__})
    except TypeError:  # a metaclass or slots that cannot be combined: not observed
        return given
