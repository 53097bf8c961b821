"""The tables of docs/performance.md, from the results that are kept.

    python -m benchmarks.report [--results FOLDER] [--document FILE]

What stands between the two marks is written anew; the rest of the page is prose.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.targets import TARGETS, Results, Target, median
from benchmarks.variants import VARIANTS

BEGIN = "<!-- begin of the figures: python -m benchmarks.report -->"
END = "<!-- end of the figures -->"
DOCUMENT = Path(__file__).parent.parent / "docs" / "performance.md"
Row = Iterable[str]


def table(*rows: Row) -> str:
    """Markdown of a table; the first row is its head."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    columns = lines[0].count("|") - 1
    return "\n".join([lines[0], "|" + "---|" * columns, *lines[1:]])


def shown(figure: Any, digits: int = 1) -> str:
    """A figure with its spread."""
    if figure is None:
        return "-"
    if not isinstance(figure, Mapping):
        return f"{figure:,.{digits}f}"
    middle, low, high = (f"{figure[key]:,.{digits}f}" for key in ("median", "low", "high"))
    return f"{middle} ({low} to {high})" if figure["values"] > 1 else middle


def lines_of(part: Mapping[str, Any], columns: Mapping[str, int]) -> Iterable[Row]:
    """The rows of a part: title of each variant and its figures, or why there are none."""
    for name, figures in part.items():
        title = VARIANTS[name].title if name in VARIANTS else name
        if "failed" in figures:
            yield (title, f"not measured: {figures['failed']}", *[""] * (len(columns) - 1))
        else:
            yield (title, *(shown(figures.get(key), digits) for key, digits in columns.items()))


def of_targets(kept: Results) -> str:
    """Every target beside what was measured."""
    rows = [("what", "target", "measured", "")]
    rows += [_target_row(target, target.measured(kept), kept) for target in TARGETS]
    return table(*rows)


def _target_row(target: Target, value: float | None, kept: Results) -> tuple[str, str, str, str]:
    digits = 3 if target.goal < 2 else 1
    unit = f" {target.unit}" if target.unit else ""
    goal = f"{'>=' if target.at_least else '<='} {target.goal:.3g}{unit}"
    if value is None:
        return target.what, goal, "not measured", target.reason
    return target.what, goal, f"{value:,.{digits}f}{unit}", _verdict(target, value, kept)


def _verdict(target: Target, value: float, kept: Results) -> str:
    if target.met(value):
        return "met"
    least = median(kept, target.least) if target.least else None
    beside = "" if least is None else f"; the least that could be done: {least:.2f}"
    return f"**not met**: {target.reason or 'reason not known'}{beside}"


def of_in_process(part: Mapping[str, Any]) -> str:
    """Microseconds that each variant adds."""
    columns = {"added_us": 1, "with_export_us": 1, "attributes": 0}
    head = ("variant", "added, us", "with the export's own time, us", "attributes a span")
    return table(head, *lines_of(part, columns))


def of_series(part: Mapping[str, Any]) -> str:
    """What growth costs."""
    titles = {"few-one": "one route", "many-one": "many routes, one asked for",
              "many-round": "many routes, all in turn"}  # fmt: skip
    named = {titles[name]: figures for name, figures in part.items()}
    head = ("series", "samples on the page", "added, us", "share of the first row")
    return table(head, *lines_of(named, {"samples": 0, "added_us": 1, "to_few": 2}))


def of_footprint(part: Mapping[str, Any]) -> str:
    """What a worker weighs."""
    columns = {"more_mb": 1, "more_preload_mb": 1, "rss_mb": 1, "private_mb": 1, "ready_ms": 1,
               "answered_cpu_ms": 1}  # fmt: skip
    head = ("variant (over bare)", "one more worker, MB", "the same, preload, MB", "RSS, MB",
            "private, MB", "fork to ready, ms",
            "processor time to the first answer, ms")  # fmt: skip
    return table(head, *lines_of(part, columns))


def of_export(part: Mapping[str, Any]) -> str:
    """What a span costs to send."""
    head = ("batch", "official exporter, us", "ours, us", "times cheaper",
            "ours, spans by the API, us", "ours, the SDK's spans, us")  # fmt: skip
    return table(head, *(_export_row(size, sides) for size, sides in part.items()))


def _export_row(size: str, sides: Mapping[str, Any]) -> Row:
    ours = sides.get("ours", sides)
    if "failed" in ours:
        theirs = shown(sides.get("theirs", {}).get("per_span_us"))
        return size, theirs, f"not measured: {ours['failed']}", "", "", ""
    return (
        size, shown(sides["theirs"]["per_span_us"]), shown(ours["per_span_us"]),
        shown(ours["times_cheaper"]), shown(sides["api"]["per_span_us"]),
        shown(sides["foreign"]["per_span_us"]),
    )  # fmt: skip


def of_scrape(part: Mapping[str, Any]) -> str:
    """What a scrape costs."""
    columns = {"prometheus_client_ms": 0, "ours_first_ms": 0, "ours_ms": 1, "times_faster": 1,
               "new_series_to_later": 2, "recycle_to_later": 2, "conflict_to_later": 2,
               "memory_mb": 1}  # fmt: skip
    head = ("workers x series", "prometheus_client, ms", "ours: first, ms", "later, ms",
            "times faster", "after a new series, of a later one", "after a recycle",
            "with a conflict", "memory after 200, MB")  # fmt: skip
    shapes = {name: figures for name, figures in part.items() if name != "exponents"}
    rows = table(head, *lines_of(shapes, columns))
    if "exponents" not in part:
        return rows
    powers = part["exponents"]
    return (
        f"{rows}\n\nA later scrape grows with the workers to the power of {powers['workers']:.2f}"
        f" (4 to 16), with the series to the power of {powers['series']:.2f} (1,000 to 4,000)."
    )


def of_server(part: Mapping[str, Any]) -> str:
    """Throughput and tail behind gunicorn."""
    head = ("server and application", "variant", "throughput, share of bare", "p99, times bare",
            "processor time added, us", "spans exported", "requests a second")  # fmt: skip
    columns = {"throughput": 2, "p99": 1, "cpu_added_us": 0, "exported": 2,
               "requests_per_second": 0}  # fmt: skip
    rows = [
        (setting.replace("-", ", "), *row)
        for setting, variants in part.items()
        for row in lines_of(variants, columns)
    ]
    return table(head, *rows)


def of_instructions(part: Mapping[str, Any]) -> str:
    """Instructions of a request."""
    return table(("variant", "instructions a request"), *lines_of(part, {"per_request": 0}))


def of_functions(part: Mapping[str, Any]) -> str:
    """Where the instructions go."""
    parts = []
    for name, figures in part.items():
        rows: list[Row] = [("function (what it calls included)", "calls", "instructions")]
        rows += [
            (f"`{one['function']}`", f"{one['calls']:g}", f"{one['instructions']:,}")
            for one in figures.get("functions", ())
        ]
        told = f"not measured: {figures['failed']}" if "failed" in figures else table(*rows)
        parts.append(f"*{VARIANTS[name].title}*\n\n{told}")
    return "\n\n".join(parts)


def of_memos(part: Mapping[str, Any]) -> str:
    """The shares of lookups that memos answer."""
    measured = {name: figures for name, figures in part.items() if "hits" in figures}
    memos = list(next(iter(measured.values()))["hits"]) if measured else []
    rows = [
        (memo, *(f"{figures['hits'][memo]:.1%}" for figures in measured.values())) for memo in memos
    ]
    return table(("memo", *measured), *rows)


SECTIONS = (
    ("in_process", "One request in process", of_in_process),
    ("series", "Growing series", of_series),
    ("footprint", "A worker's weight", of_footprint),
    ("export", "Exporting a span", of_export),
    ("scrape", "One scrape", of_scrape),
    ("server", "Behind gunicorn", of_server),
    ("instructions", "Instructions of a request", of_instructions),
    ("functions", "Where they go", of_functions),
    ("memos", "Lookups that find a block encoded already", of_memos),
)


def figures_of(kept: Results) -> str:
    """All tables."""
    parts = ["## Targets", of_targets(kept)]
    for part, title, write in SECTIONS:
        if part in kept:
            told = [f"## {title}", f"`python -m benchmarks.{part}`; {conditions(kept[part])}"]
            parts += [*told, write(kept[part]["results"])]
    return "\n\n".join([*parts, "## Versions", versions(kept)])


def conditions(part: Mapping[str, Any]) -> str:
    """When and where a part was run."""
    machine = part["machine"]
    quick = " **A short run, for a try.**" if part["quick"] else ""
    return (
        f"{machine['date']}, {machine['cpu']}, {machine['cores']} cores, Python"
        f" {machine['python']}, load before it {machine['load_before']}.{quick}"
    )


def versions(kept: Results) -> str:
    """The packages of the last part that is shown."""
    shown = {part for part, _, _ in SECTIONS}
    parts = [one for part, one in kept.items() if part in shown]
    packages = parts[-1]["machine"]["packages"] if parts else {}
    return table(("package", "version"), *packages.items())


def rewritten(document: str, figures: str) -> str:
    """The page with other figures.

    Raises:
        SystemExit: its marks are not there.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit("the document has no marks for the figures")
    return f"{before}{begin}\n\n{figures}\n\n{end}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=results.FOLDER)
    parser.add_argument("--document", type=Path, default=DOCUMENT)
    arguments = parser.parse_args()
    figures = figures_of(results.read(arguments.results))
    text = arguments.document.read_text(encoding="utf-8")
    arguments.document.write_text(rewritten(text, figures), encoding="utf-8")
    sys.stdout.write(f"{arguments.document} written\n")


if __name__ == "__main__":
    main()
