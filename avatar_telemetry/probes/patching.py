"""How a probe gets between a library and its caller.

A plain function around the original: the cheapest thing that Python can call, and pickling,
signatures and documentation stay those of the original.
"""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import wrapt

from avatar_telemetry._base.log import LOGGER

MARK = "_avatar_telemetry_probe"

Call = Callable[..., Any]
Around = Callable[[Call], Call]
"""Takes the original, gives what is called instead."""


class Versions(NamedTuple):
    """The versions of a library that a probe was tried with.

    Args:
        first: major and minor of the oldest.
        beyond: major and minor of the first that is too new.
        attribute: of the module, where it says its version, as a text or as numbers.
    """

    first: tuple[int, int]
    beyond: tuple[int, int]
    attribute: str = "__version__"

    def of(self, module: ModuleType) -> str:
        """The version that a module says it has."""
        said = getattr(module, self.attribute, "")
        return ".".join(map(str, said)) if isinstance(said, tuple) else str(said)

    def include(self, version: str) -> bool:
        """Whether a version is among them."""
        found = re.match(r"(\d+)\.(\d+)", version)
        return found is not None and self.first <= (int(found[1]), int(found[2])) < self.beyond


def when_imported(
    module: str, patch: Callable[[ModuleType], None], versions: Versions | None = None
) -> None:
    """Patch a module: now where it is imported already, else when it is.

    A module that is not as expected is left alone, with one log record.

    Args:
        module: dotted name.
        patch: called with the module.
        versions: those supported, where that matters.
    """

    def hook(imported: ModuleType) -> None:
        if versions is not None and not versions.include(versions.of(imported)):
            version = versions.of(imported)
            LOGGER.warning("no probe for %s: version %r is not supported", module, version)
            return
        try:
            patch(imported)
        except Exception:  # noqa: BLE001 - a library that is not as expected is left alone
            LOGGER.warning("no probe for %s: it is not as expected", module, exc_info=True)

    wrapt.register_post_import_hook(hook, module)


def surround(owner: Any, path: str, around: Around) -> None:
    """Put a function around a function, a method, or the construction of a class.

    Args:
        owner: a module or class.
        path: attribute path below it, such as ``Client.get``.
        around: see :data:`Around`. Where one stands already, nothing is done.

    Raises:
        AttributeError: there is no such attribute.
    """
    *parents, name = path.split(".")
    for parent in parents:
        owner = getattr(owner, parent)
    original = inspect.getattr_static(owner, name)
    if inspect.isclass(original):
        owner, name, original = original, "__init__", original.__init__
    kind = type(original) if isinstance(original, (staticmethod, classmethod)) else None
    function = original.__func__ if kind else original
    if hasattr(function, MARK):
        return
    wrapper = functools.wraps(function)(around(function))
    setattr(wrapper, MARK, True)
    setattr(owner, name, kind(wrapper) if kind else wrapper)


def surround_bound(module: ModuleType, path: str, around: Around) -> None:
    """Surround what others may have imported by name already, and give them the surrounded one.

    ``from library import draw`` before the probe leaves the original in the globals of who did so.
    A method or a class needs none of this: it is changed where it is.

    Args:
        module: that has been imported some time ago.
        path: see :func:`surround`.
        around: see :func:`surround`.

    Raises:
        AttributeError: there is no such attribute.
    """
    original = vars(module).get(path)
    surround(module, path, around)
    if inspect.isfunction(original):
        _replace(original, vars(module)[path])


def _replace(original: object, wrapper: object) -> None:
    """One pass over the globals of all modules; only the very same object is replaced."""
    for module in list(sys.modules.values()):
        if isinstance(module, ModuleType):
            # Not vars(): a lazy module would be loaded by the question.
            names = object.__getattribute__(module, "__dict__")
            for name, value in list(names.items()):
                if value is original:
                    names[name] = wrapper
