"""Patches of functions, methods and classes of libraries.

A patch is a plain function around the original: the cheapest callable of Python, with the pickling,
signature and documentation of the original.
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
"""Returns the function to be called instead of the original."""


class Versions(NamedTuple):
    """The versions of a library that a probe supports.

    Args:
        first: the major and minor number of the oldest.
        end: the major and minor number of the first unsupported one.
        attribute: the attribute of the module with its version, as a text or as numbers.
    """

    first: tuple[int, int]
    end: tuple[int, int]
    attribute: str = "__version__"

    def of(self, module: ModuleType) -> str:
        """Return the version of a module."""
        version = getattr(module, self.attribute, "")
        return ".".join(map(str, version)) if isinstance(version, tuple) else str(version)

    def include(self, version: str) -> bool:
        """Return whether a version is supported."""
        found = re.match(r"(\d+)\.(\d+)", version)
        return found is not None and self.first <= (int(found[1]), int(found[2])) < self.end


def when_imported(
    module: str, patch: Callable[[ModuleType], None], versions: Versions | None = None
) -> None:
    """Patch a module: at once where it is imported, else with its import.

    A module that cannot be patched stays as it is, with one log record.

    Args:
        module: the dotted name of the module.
        patch: the function that patches the module.
        versions: the supported versions, or ``None`` for all.
    """

    def hook(imported: ModuleType) -> None:
        if versions is not None and not versions.include(versions.of(imported)):
            version = versions.of(imported)
            LOGGER.warning("no probe for %s: version %r is not supported", module, version)
            return
        try:
            patch(imported)
        except Exception:  # noqa: BLE001 - any fault of an unexpected version of a library
            LOGGER.warning("no probe for %s: it cannot be patched", module, exc_info=True)

    wrapt.register_post_import_hook(hook, module)


def surround(owner: Any, path: str, around: Around) -> None:
    """Wrap a function, a method, or the construction of a class.

    Args:
        owner: the module or class.
        path: the attribute path below it, such as ``Client.get``.
        around: the wrapper; see :data:`Around`. A wrapped function is not wrapped again.

    Raises:
        AttributeError: the attribute does not exist.
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
    """Wrap a function, and replace it in the modules that have imported it by name.

    ``from library import draw`` before the probe leaves the original in the importing module. A
    method or a class does not need this: it is changed in place.

    Args:
        module: the module, imported before.
        path: the attribute path; see :func:`surround`.
        around: the wrapper; see :data:`Around`.

    Raises:
        AttributeError: the attribute does not exist.
    """
    original = vars(module).get(path)
    surround(module, path, around)
    if inspect.isfunction(original):
        _replace(original, vars(module)[path])


def _replace(original: object, wrapper: object) -> None:
    """Replace an object in the globals of all modules, by identity."""
    for module in list(sys.modules.values()):
        if isinstance(module, ModuleType):
            # Not vars(), which would load a lazy module.
            names = object.__getattribute__(module, "__dict__")
            for name, value in list(names.items()):
                if value is original:
                    names[name] = wrapper
