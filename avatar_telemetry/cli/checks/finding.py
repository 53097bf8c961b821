"""A finding: what was seen, how bad it is, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Literal

from avatar_telemetry.exporter.foreign import one_line

Level = Literal["good", "note", "warning", "error"]
STATUS: dict[Level, int] = {"good": 0, "note": 0, "warning": 1, "error": 2}


@dataclass(frozen=True)
class Finding:
    """One thing that was seen.

    Args:
        check: its stable name, ``place.what``.
        level: how bad it is.
        message: what was seen.
        advice: what to do; empty where nothing is.
    """

    check: str
    level: Level
    message: str
    advice: str = ""

    def __post_init__(self) -> None:
        # A certificate, a server or a page may have had a hand in it, and a terminal obeys escapes.
        object.__setattr__(self, "message", one_line(self.message))
        object.__setattr__(self, "advice", one_line(self.advice))

    @property
    def place(self) -> str:
        """Where it was seen: the first word of the name."""
        return self.check.partition(".")[0]

    def to_json(self) -> dict[str, str]:
        """For programs."""
        return asdict(self)


def good(check: str, message: str) -> Finding:
    return Finding(check, "good", message)


def note(check: str, message: str, advice: str = "") -> Finding:
    return Finding(check, "note", message, advice)


def warning(check: str, message: str, advice: str) -> Finding:
    return Finding(check, "warning", message, advice)


def error(check: str, message: str, advice: str) -> Finding:
    return Finding(check, "error", message, advice)


def exit_status(findings: Iterable[Finding]) -> int:
    """0, 1 where there is a warning, 2 where there is an error."""
    return max((STATUS[each.level] for each in findings), default=0)
