"""The standard library without gevent's patches, for work that must not wait for its event loop."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any


def uses_greenlets() -> bool:
    """Return whether gevent has patched threading, so that greenlets serve the requests."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def original(module: str, name: str) -> Any:
    """Return an object of the standard library as it was before gevent patched it.

    Args:
        module: the name of the module.
        name: the name of the object in the module.

    Raises:
        AttributeError: the module has no such object.
    """
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None:
        return getattr(import_module(module), name)
    return monkey.get_original(module, name)
