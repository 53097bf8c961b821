"""Did it get worse? A new run against the figures that are kept.

    python -m benchmarks --quick --out build/bench && python -m benchmarks.check [FOLDER]

Compared is what does not depend on the machine: ratios to what was measured beside (bare, or the
official way), instructions, and sizes of memory. The exit status is 1 where something got worse by
more than the spread of the figure and its tolerance, or was not measured.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.variants import VARIANTS

# Figure -> (whether more is better, share by which it may get worse).
COMPARED = {
    "added_to_bare": (False, 0.10),
    "to_few": (False, 0.10),
    "times_cheaper": (True, 0.15),
    "times_faster": (True, 0.20),
    "new_series_to_later": (False, 0.40),
    "recycle_to_later": (False, 0.40),
    "conflict_to_later": (False, 0.40),
    "throughput": (True, 0.05),
    "p99": (False, 0.40),
    "cpu": (False, 0.05),
    "rss_mb": (False, 0.10),
    "more_mb": (False, 0.20),
    "answered_cpu_ms": (False, 0.30),
    "per_request": (False, 0.03),
}
PYTHON_BOUND = "per_request"


@dataclass(frozen=True)
class Change:
    """A figure that got worse.

    Args:
        figure: where it stands.
        before: its kept median.
        after: its new median.
    """

    figure: str
    before: float
    after: float

    def __str__(self) -> str:
        percent = (self.after / self.before - 1) * 100 if self.before else 0.0
        return f"{self.figure}: {self.before:,.3f} before, {self.after:,.3f} now ({percent:+.0f} %)"


def ours(part: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every compared figure of our own variants below a part, with where it stands."""
    for key, value in part.items():
        if key in VARIANTS and VARIANTS[key].module != "ours":
            continue
        if key in COMPARED:
            yield "/".join((*path, key)), value
        elif isinstance(value, Mapping):
            yield from ours(value, (*path, key))


def worse(kept: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """What got worse in a part.

    Args:
        kept: a part as it is kept.
        new: the same part of another run.
    """
    changes = []
    before = dict(ours(kept["results"]))
    same_python = kept["machine"]["python"] == new["machine"]["python"]
    for figure, after in ours(new["results"]):
        name = figure.rpartition("/")[2]
        if figure in before and (same_python or name != PYTHON_BOUND):
            was, now = _medians(before[figure]), _medians(after)
            if _is_worse(was, now, *COMPARED[name]):
                changes.append(Change(figure, was[0], now[0]))
    return changes


def _medians(value: Any) -> tuple[float, float, float]:
    """Median and spread."""
    if isinstance(value, Mapping):
        return value["median"], value["low"], value["high"]
    return value, value, value


def _is_worse(
    was: tuple[float, float, float], now: tuple[float, float, float], more: bool, tolerance: float
) -> bool:
    if more:
        return now[0] < was[0] * (1 - tolerance) and now[2] < was[1]
    return now[0] > was[0] * (1 + tolerance) and now[1] > was[2]


def missing(kept: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Figures that are kept and that the new run does not have."""
    have = {figure for figure, _ in ours(new["results"])}
    return [figure for figure, _ in ours(kept["results"]) if figure not in have]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("new", type=Path, nargs="?", default=Path("build/bench"))
    parser.add_argument("--kept", type=Path, default=results.FOLDER)
    arguments = parser.parse_args()
    kept, new = results.read(arguments.kept), results.read(arguments.new)
    if not kept.keys() & new.keys():
        raise SystemExit(f"nothing to compare in {arguments.new}: run python -m benchmarks --quick")
    lines = []
    for part in kept.keys() & new.keys():
        lines += [f"{part}/{change}" for change in worse(kept[part], new[part])]
        lines += [f"{part}/{figure}: not measured now" for figure in missing(kept[part], new[part])]
    for line in lines or ["nothing got worse"]:
        sys.stdout.write(line + "\n")
    raise SystemExit(1 if lines else 0)


if __name__ == "__main__":
    main()
