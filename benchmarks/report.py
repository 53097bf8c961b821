"""The tables of docs/performance.md and docs/performance-details.md, and the picture.

    python -m benchmarks.report [--results FOLDER] [--docs FOLDER]

All are written from the results that are kept; of a page only what stands between the two marks.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.targets import TARGETS, Figure, Results, Target, median
from benchmarks.variants import VARIANTS

BEGIN = "<!-- begin of the figures: python -m benchmarks.report -->"
END = "<!-- end of the figures -->"
DOCS = Path(__file__).parent.parent / "docs"
PAGE, DETAILS, PICTURE = "performance.md", "performance-details.md", "pictures/throughput.svg"
PICTURED = (
    "metrics", "spans-5", "spans-100", "django-prometheus", "otel-100", "ddtrace-100", "sentry-100",
)  # fmt: skip
WIDTH, LABELS, BAR = 720, 270, 22
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
    rows: list[Row] = [("what", "before", "to reach", "measured", "")]
    rows += [
        (
            target.what,
            target.before,
            " / ".join(_goal(figure) for figure in target.figures),
            " / ".join(_measured(kept, figure, target.digits) for figure in target.figures),
            verdict(target, kept),
        )
        for target in TARGETS
    ]
    return table(*rows)


def _goal(figure: Figure) -> str:
    return f"{'>=' if figure.at_least else '<='} {figure.goal:g}"


def _measured(kept: Results, figure: Figure, digits: int) -> str:
    value = None if _is_old(kept, figure) else median(kept, figure.path)
    return "-" if value is None else f"{value:,.{digits}f}"


def _is_old(kept: Results, figure: Figure) -> bool:
    return "old" in kept.get(figure.path.partition("/")[0], {})


def verdict(target: Target, kept: Results) -> str:
    """Met, not met with the reason, or not measured with this version."""
    parts = {figure.path.partition("/")[0] for figure in target.figures}
    if any(part not in kept for part in parts) or any(
        _is_old(kept, each) for each in target.figures
    ):
        return "to be measured"
    if any(median(kept, figure.path) is None for figure in target.figures):
        return "**not measured**"
    if all(figure.is_met(kept) for figure in target.figures):
        return "met"
    return f"**not met**: {target.reason}"


def of_in_process(part: Mapping[str, Any]) -> str:
    """Microseconds that each variant adds."""
    columns = {"added_us": 1, "with_export_us": 1, "attributes": 0, "exporter_us_a_span": 1,
               "to_few": 2, "to_kept": 2}  # fmt: skip
    head = ("variant", "added, us", "with the export's own time, us", "attributes a span",
            "exporter's process, us a span", "share of the cost with few samples",
            "with the export, share of kept")  # fmt: skip
    return table(head, *lines_of(part, columns))


def of_footprint(part: Mapping[str, Any]) -> str:
    """Memory and start of a server."""
    columns = {"more_mb": 1, "more_preload_mb": 1, "exporter_mb": 1, "together_mb": 1,
               "first_answer_ms": 0, "first_answer": 2}  # fmt: skip
    head = ("variant (over bare)", "one more worker, MB", "the same, preload, MB", "exporter, MB",
            "4 workers and exporter, MB", "first answer, ms more",
            "first answer, times bare")  # fmt: skip
    servers = {name: figures for name, figures in part.items() if name in VARIANTS}
    return table(head, *lines_of(servers, columns))


def of_scrape(part: Mapping[str, Any]) -> str:
    """The cost of a scrape."""
    columns = {"prometheus_client_ms": 0, "ours_first_ms": 0, "ours_ms": 1, "times_faster": 1,
               "new_series_to_later": 2, "recycle_to_later": 2}  # fmt: skip
    head = ("workers x series", "prometheus_client, ms", "ours: first, ms", "later, ms",
            "times faster", "after a new series, of a later one", "after a recycle")  # fmt: skip
    return table(head, *lines_of(part, columns))


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


def of_latency(part: Mapping[str, Any]) -> str:
    """Latencies under constant arrivals."""
    columns = {"saturation": 0, "own_p90_ms": 1, "own_p99_ms": 1, "own_p90": 2, "own_p99": 2,
               "same_p90": 2, "same_p99": 2}  # fmt: skip
    head = ("sync, identicon", "saturation, requests a second", "p90, ms", "p99, ms",
            "p90, times bare", "p99, times bare", "p90, same arrivals",
            "p99, same arrivals")  # fmt: skip
    recycles = {"longest_ms": 0, "longest": 2, "longest_added_ms": 0}
    waits = ("recycled worker", "longest wait, ms", "times bare", "ms more")
    tables = ((head, "sync-identicon", columns), (waits, "recycle", recycles))
    return "\n\n".join(
        f"Not measured: {part[key]['failed']}"
        if "failed" in part[key]
        else table(titles, *lines_of(part[key], figures))
        for titles, key, figures in tables
    )


def of_delivery(part: Mapping[str, Any]) -> str:
    """Spans that are lost."""
    columns = {"lost": 3, "spans": 0}
    titles = {"down": "the collector is down 20 s in each 30 s", "killed": "killed workers"}
    named = {titles[name]: figures for name, figures in part.items()}
    return table(("what happens", "share of the spans lost", "spans expected"),
                 *lines_of(named, columns))  # fmt: skip


def of_instructions(part: Mapping[str, Any]) -> str:
    """Instructions of a request."""
    head = ("variant", "instructions a request", "added, thousands", "threads")
    return table(head, *lines_of(part, {"per_request": 0, "added_k": 1, "threads": 0}))


def of_caches(part: Mapping[str, Any]) -> str:
    """Shares of requests that find a value in a cache."""
    names = list(next(iter(part.values())))
    rows = [(name, *(f"{shares[name]:.1%}" for shares in part.values())) for name in names]
    return table(("cache", *part), *rows)


SECTIONS = (
    ("in_process", "One request in process, and growing series", of_in_process),
    ("instructions", "Instructions of a request", of_instructions),
    ("server", "Behind gunicorn, closed loop", of_server),
    ("latency", "Behind gunicorn, constant arrivals", of_latency),
    ("footprint", "Memory and start", of_footprint),
    ("scrape", "One scrape", of_scrape),
    ("delivery", "Lost spans", of_delivery),
    ("caches", "Values found in a cache", of_caches),
)


def summary_of(kept: Results) -> str:
    """The table of all targets, and when its figures were measured."""
    conditions_of: dict[str, list[str]] = {}
    for part, _, _ in SECTIONS:
        if part in kept and "old" not in kept[part]:
            machine = kept[part]["machine"]
            where = f"{machine['date']} on {machine['cpu']}, {machine['cores']} cores"
            conditions_of.setdefault(where + _try(kept[part]), []).append(part)
    lines = [f"{', '.join(parts)}: {where}" for where, parts in conditions_of.items()]
    return "\n\n".join([of_targets(kept), f"Measured: {'; '.join(lines)}."])


def details_of(kept: Results) -> str:
    """All other tables."""
    parts = []
    for part, title, write in SECTIONS:
        if part in kept:
            head = [f"## {title}", f"`python -m benchmarks.{part}`; {conditions(kept[part])}"]
            parts += [*head, write(kept[part]["results"])]
    return "\n\n".join([*parts, "## Versions", versions(kept)])


def conditions(part: Mapping[str, Any]) -> str:
    """When and where a part was run."""
    machine = part["machine"]
    old = f" **{part['old']}**" if "old" in part else ""
    return (
        f"{machine['date']}, {machine['cpu']}, {machine['cores']} cores, Python"
        f" {machine['python']}, load before it {machine['load_before']}.{_try(part)}{old}"
    )


def _try(part: Mapping[str, Any]) -> str:
    return " **A short run, for a try.**" if part["quick"] else ""


def versions(kept: Results) -> str:
    """The packages of the last part that is shown."""
    parts = [kept[part] for part, _, _ in SECTIONS if part in kept]
    packages = parts[-1]["machine"]["packages"] if parts else {}
    return ", ".join(f"{name} {number}" for name, number in packages.items()) + "."


def picture(kept: Results) -> str:
    """SVG of the throughput behind gunicorn, each variant as a share of the bare server."""
    bars = [("bare", 1.0)] + [
        (VARIANTS[name].title, value)
        for name in PICTURED
        if (value := median(kept, f"server/sync-trivial/{name}/throughput")) is not None
    ]
    height = (len(bars) + 1) * BAR + 14
    server = kept.get("server", {"machine": {"date": "not measured"}})
    when = f"{server['machine']['date']}. {server.get('old', '')}".strip()
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
        ' font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="8" y="16">Throughput, one sync worker, trivial application, share of bare;'
        f" {when}</text>",
    ]
    for number, (title, value) in enumerate(bars, 1):
        top = number * BAR + 4
        color = {"bare": "#999", "ours": "#2a7"}.get(title.partition(",")[0], "#47a")
        width = (WIDTH - LABELS - 60) * value
        lines += [
            f'<text x="{LABELS - 6}" y="{top + 13}" text-anchor="end">{title}</text>',
            f'<rect x="{LABELS}" y="{top}" width="{width:.0f}" height="{BAR - 5}" fill="{color}"/>',
            f'<text x="{LABELS + width + 5:.0f}" y="{top + 13}">{value:.2f}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])


def rewritten(document: str, figures: str, begin: str = BEGIN) -> str:
    """The page with other figures.

    Raises:
        SystemExit: its marks are not there.
    """
    before, mark, rest = document.partition(begin)
    _, end, after = rest.partition(END)
    if not (mark and end):
        raise SystemExit("the document has no marks for the figures")
    return f"{before}{begin}\n\n{figures}\n\n{end}{after}"


def files(kept: Results, docs: Path) -> dict[Path, str]:
    """The text of every file that shows results."""
    tables = {PAGE: summary_of(kept), DETAILS: details_of(kept)}
    pages = {
        docs / name: rewritten((docs / name).read_text(encoding="utf-8"), text)
        for name, text in tables.items()
    }
    return pages | {docs / PICTURE: picture(kept)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=results.FOLDER)
    parser.add_argument("--docs", type=Path, default=DOCS)
    arguments = parser.parse_args()
    for path, text in files(results.read(arguments.results), arguments.docs).items():
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{path} written\n")


if __name__ == "__main__":
    main()
