"""A finding of the doctor: the observed fact, its severity, and the fix."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

from avatar_telemetry.exporter.foreign import one_line

Level = Literal["good", "note", "warning", "error"]
STATUS: dict[Level, int] = {"good": 0, "note": 0, "warning": 1, "error": 2}


@dataclass(frozen=True)
class Finding:
    """One observed fact.

    Args:
        check: the stable name, ``area.detail``.
        message: the fact.
        advice: the fix; empty where none is needed.
        level: the severity.
    """

    check: str
    message: str
    advice: str = ""
    level: Level = "good"

    def __post_init__(self) -> None:
        # Parts may be from a certificate, a server or a page, with escape sequences for a terminal.
        object.__setattr__(self, "message", one_line(self.message))
        object.__setattr__(self, "advice", one_line(self.advice))

    @property
    def area(self) -> str:
        """The first part of the check's name."""
        return self.check.partition(".")[0]


good, note, warning, error = (partial(Finding, level=level) for level in STATUS)


def select(*rules: tuple[object, Level, str, str, str]) -> Iterator[Finding]:
    """Yield a finding for every rule that applies.

    Args:
        rules: the condition, level, check, message and advice of each rule.
    """
    for applies, level, check, message, advice in rules:
        if applies:
            yield Finding(check, message, advice, level)


def exit_status(findings: Iterable[Finding]) -> int:
    """Return 0, 1 if there is a warning, 2 if there is an error."""
    return max((STATUS[each.level] for each in findings), default=0)
