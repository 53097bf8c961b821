"""One environment variable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Setting:
    """One variable: its name, what is allowed, and how its text becomes a value.

    Args:
        variable: the environment variable.
        parse: text -> value; raises ``ValueError`` where the text is not allowed.
        default: the text that stands for an unset (or empty) variable.
        allowed: what an operator may write, for error messages and the reference.
        meaning: one sentence for the reference.
        alias: another variable that is read where this one is not set.
        empty: whether an empty text is a value of its own instead of "unset".
        secret: whether the value must not be shown.
    """

    variable: str
    parse: Callable[[str], Any]
    default: str
    allowed: str
    meaning: str
    alias: str = ""
    empty: bool = False
    secret: bool = False


def raw_text(environ: Mapping[str, str], setting: Setting) -> str:
    """The text of a variable, of its alias, or the default."""
    for variable in filter(None, (setting.variable, setting.alias)):
        text = environ.get(variable)
        if text or (text is not None and setting.empty):
            return text
    return setting.default
