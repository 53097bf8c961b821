"""The declaration of an environment variable, and the parsing of its text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from avatar_telemetry.config import parsing

MAX_SHOWN_LENGTH = 80
"""Characters of a value in an error message."""


@dataclass(frozen=True)
class Setting:
    """The declaration of a variable.

    Args:
        variable: the name of the environment variable.
        parse: a function from text to value; raises ``ValueError`` for an invalid text.
        default: the text that is used if the variable is unset or empty.
        allowed: a description of the valid texts, for error messages and the reference.
        meaning: one sentence for the reference.
        alias: another variable that is read if this one is unset.
        empty: whether an empty text is a value instead of "unset".
        secret: whether the value must not be shown.
        lenient: whether an invalid text is ignored with a warning instead of stopping the start
            (decision record 14).
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
    """Yield name and text of the variable and of its alias, if set, in order of precedence; then
    the default with an empty name."""
    for variable in filter(None, (setting.variable, setting.alias)):
        text = environ.get(variable)
        if text or (text is not None and setting.empty):
            yield variable, text
    yield "", setting.default


def raw_text(environ: Mapping[str, str], setting: Setting) -> str:
    """Return the text of a variable, of its alias, or the default."""
    return next(raw_texts(environ, setting))[1]


def may_have_secret(setting: Setting, text: str) -> bool:
    """Return whether a text may contain a secret: a URL may have a password, or a key in its query
    or fragment."""
    is_url = "://" in text or setting.parse in (parsing.endpoint, parsing.url)
    return setting.secret or "@" in text or (is_url and not {"?", "#"}.isdisjoint(text))


def describe_fault(setting: Setting, variable: str, text: str) -> str:
    """Return the line about an invalid text."""
    value = "(not shown)" if may_have_secret(setting, text) else repr(text[:MAX_SHOWN_LENGTH])
    return f"{variable}={value}: must be {setting.allowed}"


class Reading:
    """Parse variables, and collect a line for each invalid text.

    Args:
        environ: the text of each variable.
        faults: the lines of earlier checks; more are appended.
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
        """Record a warning about an ignored text.

        Args:
            fault: the line about the text.
            variable: the variable with the text.
            source: the variable that is used instead; empty for the default.
            text: the text that is used instead.
        """
        used = f"{text!r} of {source}" if source else f"the default {text!r}" if text else ""
        self.warnings.append(f"{fault}; {f'{used} is used' if used else 'it counts as unset'}")
        # Other packages read another variable, too, and their default may differ from this one.
        self.corrected[variable] = text if source == variable else ""

    def _value(self, setting: Setting) -> Any:
        refused: dict[str, str] = {}
        value: Any = None
        for variable, text in raw_texts(self._environ, setting):
            try:
                value = setting.parse(text)
                break
            except parsing.UnknownNamesError as error:
                refused[variable] = describe_fault(setting, variable, text)
                if error.known:
                    value, text = error.known, ",".join(error.known)
                    break
            except (ValueError, KeyError) as error:
                reason = f"; {error}" if isinstance(error, parsing.ExplainedError) else ""
                refused[variable] = describe_fault(setting, variable, text) + reason
        if not setting.lenient:
            self.faults += refused.values()
        else:
            for name, fault in refused.items():
                self.ignore(fault, name, variable, text)
        return value
