"""One environment variable, and how the texts of many become values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from avatar_telemetry.config import parsing

SHOWN_VALUE = 80
"""Characters of a value that an error message shows."""


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


def describe_fault(setting: Setting, variable: str, text: str) -> str:
    """Return the line about a text that is not allowed."""
    # A URL may hold a password, or a key in its query.
    hidden = setting.secret or "@" in text or ("://" in text and "?" in text)
    value = "(not shown)" if hidden else repr(text[:SHOWN_VALUE])
    return f"{variable}={value}: allowed is {setting.allowed}"


class Reading:
    """Parse variables, and collect a line for each text that is not allowed.

    Args:
        environ: the texts.
        faults: found so far.
    """

    def __init__(self, environ: Mapping[str, str], faults: list[str]) -> None:
        self.faults = faults
        self.warnings: list[str] = []
        self.corrected: dict[str, str] = {}
        self._environ = environ

    def table(self, table: Mapping[str, Setting]) -> dict[str, Any]:
        """Parse all variables of a table."""
        return {name: self._value(setting) for name, setting in table.items()}

    def ignore(self, fault: str, variable: str, source: str, text: str) -> None:
        """Note that a text is ignored.

        Args:
            fault: the line about it.
            variable: the variable that has the text.
            source: the variable that is used instead; empty for the default.
            text: the text that is used instead.
        """
        used = f"{text!r} of {source}" if source else f"the default {text!r}" if text else ""
        self.warnings.append(f"{fault}; {f'{used} is used' if used else 'it counts as unset'}")
        # Another variable is read by others, too; the default of this package may not be theirs.
        self.corrected[variable] = text if source == variable else ""

    def _value(self, setting: Setting) -> Any:
        refused: dict[str, str] = {}
        value: Any = None
        for variable, text in raw_texts(self._environ, setting):
            try:
                value = setting.parse(text)
                break
            except parsing.UnknownWordsError as error:
                refused[variable] = describe_fault(setting, variable, text)
                if error.known:
                    value, text = error.known, ",".join(error.known)
                    break
            except (ValueError, KeyError) as error:
                why = f"; {error}" if isinstance(error, parsing.ExplainedError) else ""
                refused[variable] = describe_fault(setting, variable, text) + why
        if not setting.lenient:
            self.faults += refused.values()
        else:
            for name, fault in refused.items():
                self.ignore(fault, name, variable, text)
        return value
