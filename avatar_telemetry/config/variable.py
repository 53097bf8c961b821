"""One environment variable."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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
        lenient: whether a text that is not allowed is ignored with a warning instead of stopping
            the start (decision record 14).
    """

    variable: str
    parse: Callable[[str], Any]
    default: str
    allowed: str
    meaning: str
    alias: str = ""
    empty: bool = False
    secret: bool = False
    lenient: bool = False


def raw_texts(environ: Mapping[str, str], setting: Setting) -> Iterator[tuple[str, str]]:
    """Name and text of the variable and of its alias, where they are set, in order of precedence;
    then the default, without a name."""
    for variable in filter(None, (setting.variable, setting.alias)):
        text = environ.get(variable)
        if text or (text is not None and setting.empty):
            yield variable, text
    yield "", setting.default


def raw_text(environ: Mapping[str, str], setting: Setting) -> str:
    """The text of a variable, of its alias, or the default."""
    return next(raw_texts(environ, setting))[1]
