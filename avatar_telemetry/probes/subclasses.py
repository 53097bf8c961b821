"""Observed classes for drivers whose connections and cursors are written in C.

Such a class cannot be patched, but ``connect`` takes another one. What is given is a class with the
application's own first and ours right above the driver's: whatever the application's does, it ends
in ``super()``, and there we are. ``isinstance`` holds, and nothing is a proxy.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any


@lru_cache(maxsize=256)
def observed_class(given: Any, base: type, ours: type) -> Any:
    """The class to make instead of ``given``.

    Args:
        given: what the application asked for; what is no class of the driver's stays as it is.
        base: the driver's class.
        ours: a subclass of it.
    """
    if given is None or given is base:
        return ours
    if not (isinstance(given, type) and issubclass(given, base)) or issubclass(given, ours):
        return given
    try:
        return type(given.__name__, (given, ours), {"__module__": given.__module__})
    except TypeError:  # a metaclass or slots that cannot be combined: not seen, but not broken
        return given
