"""The tables of docs/scaling.md: what many hosts cost as measured, and a budget worked out from it.

    python -m benchmarks.budgets [--results FOLDER] [--document FILE]

The budget multiplies what ``benchmarks.many_hosts`` has measured; it assumes nothing else than the
numbers in its heading. What stands between the two marks is written anew.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.report import conditions, rewritten, table

BEGIN = "<!-- begin of the figures: python -m benchmarks.budgets -->"
DOCUMENT = Path(__file__).parent.parent / "docs" / "scaling.md"
PART = "many_hosts"
HOSTS = 1_000
REQUESTS = 1_000_000
"""A second, on all hosts together."""
INTERVAL = 60
"""Seconds between two pushes of a host (the default)."""
SHARES = (1.0, 0.1, 0.01)
MIB, GBIT = 1 << 20, 1e9 / 8
DAY = 86_400
Figures = Mapping[str, Any]


def of_host(host: Figures) -> str:
    """The data that one host sends."""
    return table(
        ("what a host sends", "plain", "gzip"),
        ("bytes of a push", f"{host['push_bytes_none']:,}", f"{host['push_bytes_gzip']:,}"),
        (
            "processor time of a push, ms",
            f"{host['push_cpu_ms_none']}",
            f"{host['push_cpu_ms_gzip']}",
        ),
        ("bytes of a span", f"{host['span_bytes_none']:,.0f}", f"{host['span_bytes_gzip']:,.0f}"),
        ("samples on its page", f"{host['samples']:,}", "the same"),
        ("spans of a request, on average", f"{host['spans_per_request']}", "the same"),
    )


def of_collector(fleets: Figures) -> str:
    """The cost for a Collector whose page a Prometheus scrapes."""
    head = ("hosts", "series", "Collector: CPU a push, ms", "its memory, MiB", "its page, MiB",
            "a scrape of it, s", "Prometheus: memory, MiB", "KiB a series")  # fmt: skip
    columns = ("collector_cpu_ms_a_push", "collector_mib", "page_mib", "scrape_seconds",
               "prometheus_mib", "prometheus_kib_a_series")  # fmt: skip
    return table(head, *(_row(hosts, one, ("series", *columns)) for hosts, one in fleets.items()))


def of_direct(fleets: Figures) -> str:
    """The cost for a Prometheus that hosts push to."""
    head = ("hosts", "series", "Prometheus: CPU a push, ms", "memory, MiB", "KiB a series",
            "pushes that had to come again")  # fmt: skip
    columns = ("series", "prometheus_cpu_ms_a_push", "prometheus_mib", "prometheus_kib_a_series",
               "late_pushes")  # fmt: skip
    return table(head, *(_row(hosts, one, columns) for hosts, one in fleets.items()))


def of_spans(ways: Figures) -> str:
    """The cost of spans for a Collector."""
    rows = [
        (way, f"{one['spans']:,}", f"{one['cpu_ms_a_thousand_spans']}", f"{one['collector_mib']:,}")
        for way, one in ways.items()
    ]
    return table(("Collector", "spans", "CPU a thousand spans, ms", "memory, MiB"), *rows)


def of_budget(measured: Figures) -> str:
    """The metrics of so many hosts, and the spans of so many requests."""
    return "\n\n".join([_of_metrics(measured), _of_traces(measured)])


def _of_metrics(measured: Figures) -> str:
    host = measured["host"]
    collector = _largest(measured["collector"])
    stores = [_largest(measured[way]) for way in ("direct", "native")]
    series = [HOSTS * store["series"] / store["hosts"] for store in stores]
    pushes = HOSTS / INTERVAL

    def same(text: str) -> tuple[str, ...]:
        return (text,) * len(stores)

    rows = (
        ("series", *(f"{each:,.0f}" for each in series)),
        ("pushes a second", *same(f"{pushes:.1f}")),
        ("samples a second", *(f"{each / INTERVAL:,.0f}" for each in series)),
        ("received, gzip, Mbit/s", *same(f"{pushes * host['push_bytes_gzip'] * 8 / 1e6:.1f}")),
        ("cores of a Collector", *same(
            f"{pushes * collector['collector_cpu_ms_a_push'] / 1e3:.2f}")),
        ("cores of a Prometheus that takes the pushes", *(
            f"{pushes * each['prometheus_cpu_ms_a_push'] / 1e3:.2f}" for each in stores)),
        ("memory of that Prometheus, GiB", *(
            f"{HOSTS / each['hosts'] * each['prometheus_mib'] / 1024:.1f}" for each in stores)),
        ("processor time of each host, of one core",
         *same(f"{host['push_cpu_ms_gzip'] / 1e3 / INTERVAL:.3%}")),
    )  # fmt: skip
    return table(("metrics, pushed every 60 s", "classic histograms", "native histograms"), *rows)


def _of_traces(measured: Figures) -> str:
    host = measured["host"]
    cost = {way: one["cpu_ms_a_thousand_spans"] for way, one in measured["spans"].items()}
    rows = []
    for share in SHARES:
        spans = REQUESTS * share * host["spans_per_request"]
        sent = spans * host["span_bytes_gzip"]
        rows.append((
            f"{share:.0%}", f"{spans:,.0f}", f"{spans * host['span_bytes_none'] / GBIT:,.2f}",
            f"{sent / GBIT:,.2f}", *(f"{spans / 1e3 * each / 1e3:,.0f}" for each in cost.values()),
            f"{sent * DAY / 1e12:,.1f}",
        ))  # fmt: skip
    head = ("requests traced", "spans a second", "plain, Gbit/s", "gzip, Gbit/s",
            *(f"cores of Collectors, {way}" for way in cost), "gzip, TB a day")  # fmt: skip
    return table(head, *rows)


def _largest(fleets: Figures) -> Figures:
    """Return the figures of the largest fleet, and its number of hosts."""
    whole: list[Figures] = [
        {**one, "hosts": int(hosts)} for hosts, one in fleets.items() if "failed" not in one
    ]
    return whole[-1]


def _row(hosts: str, figures: Figures, columns: tuple[str, ...]) -> tuple[str, ...]:
    if "failed" in figures:
        return f"{int(hosts):,}", "not measured", *[""] * (len(columns) - 1)
    return f"{int(hosts):,}", *(f"{figures[column]:,}" for column in columns)


def figures_of(part: Figures) -> str:
    """All tables."""
    measured = part["results"]
    return "\n\n".join(
        [
            f"`python -m benchmarks.{PART}`; {conditions(part)}",
            "### One host", of_host(measured["host"]),
            "### Many hosts, one Collector, one Prometheus behind it",
            of_collector(measured["collector"]),
            "### Many hosts that push to a Prometheus", of_direct(measured["direct"]),
            "### The same with native histograms", of_direct(measured["native"]),
            "### Spans through one Collector", of_spans(measured["spans"]),
            f"### A budget for {HOSTS:,} hosts and {REQUESTS:,} requests a second",
            of_budget(measured),
        ]
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=results.FOLDER)
    parser.add_argument("--document", type=Path, default=DOCUMENT)
    arguments = parser.parse_args()
    figures = figures_of(results.read(arguments.results)[PART])
    text = arguments.document.read_text(encoding="utf-8")
    arguments.document.write_text(rewritten(text, figures, BEGIN), encoding="utf-8")
    sys.stdout.write(f"{arguments.document} written\n")


if __name__ == "__main__":
    main()
