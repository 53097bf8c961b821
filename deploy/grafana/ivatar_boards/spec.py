"""The elements of a dashboard, independent of Grafana's format, which ``generate.py`` writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ivatar_boards.limits import Limits

ENVIRONMENT = 'environment=~"$environment"'
SELECT = f'{ENVIRONMENT},instance=~"$instance"'
"""The labels that every query selects by, from the variables at the top of a dashboard."""
WINDOW = "$__rate_interval"
COLUMNS = 24


@dataclass(frozen=True)
class Query:
    """One PromQL query of a panel.

    Args:
        expression: with Grafana's variables in it.
        legend: name of a series, with ``{{label}}`` for the value of a label.
    """

    expression: str
    legend: str = ""


@dataclass(frozen=True)
class Help:
    """The text behind the (i) of a panel.

    Args:
        shows: the meaning of its values.
        good: the normal values.
        action: the next step if they are not normal.
    """

    shows: str
    good: str
    action: str


@dataclass(frozen=True)
class Panel:
    """One graph or number.

    Args:
        title: of the panel.
        queries: what it shows.
        unit: Grafana's name of it.
        help: its description.
        limits: the values from which it is yellow and red; without them it has one neutral colour.
        kind: lines over time, one number, or a bar for each series.
        width: of 24 columns.
        stacked: whether the lines stand on one another.
        traces: TraceQL of the traces that a click on the panel leads to; the logs are linked, too.
    """

    title: str
    queries: tuple[Query, ...]
    unit: str
    help: Help
    limits: Limits | None = None
    kind: Literal["lines", "number", "bars"] = "lines"
    width: int = 8
    stacked: bool = False
    traces: str = ""


@dataclass(frozen=True)
class Traces:
    """A list of traces, each with a link to its logs.

    Args:
        title: of the panel.
        query: TraceQL.
        help: its description.
        width: of 24 columns.
    """

    title: str
    query: str
    help: Help
    width: int = 12


@dataclass(frozen=True)
class Row:
    """Panels under one heading.

    Args:
        title: the heading.
        panels: from left to right, then down.
        repeat: the name of a variable: the row is shown once for each of its values, collapsed.
    """

    title: str
    panels: tuple[Panel | Traces, ...]
    repeat: str = ""


@dataclass(frozen=True)
class Board:
    """One dashboard.

    Args:
        uid: stands in its address, and in links to it.
        title: of the dashboard.
        description: one sentence.
        rows: from top to bottom.
    """

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]

    @property
    def panels(self) -> tuple[Panel, ...]:
        """Return all panels that query Prometheus."""
        return tuple(panel for row in self.rows for panel in row.panels if isinstance(panel, Panel))


def rate(metric: str, by: str = "", selector: str = "") -> str:
    """Return the rate per second, summed over all labels but ``by``."""
    grouping = f" by ({by})" if by else ""
    chosen = f"{SELECT},{selector}" if selector else SELECT
    return f"sum{grouping} (rate({metric}{{{chosen}}}[{WINDOW}]))"


def share(metric: str, selector: str, by: str = "") -> str:
    """Return the share with some labels, from 0 to 1; missing without events."""
    part, whole = rate(metric, by, selector), rate(metric, by)
    return f"({part} or 0 * {whole}) / ({whole} > 0)"


# A histogram is either many series, or one native histogram (convert_classic_histograms_to_nhcb):
# one side of each "or" below has no series.
def quantile(share: float, histogram: str, by: str = "") -> str:
    """Return a quantile of a histogram over all labels but ``by``."""
    classic = rate(f"{histogram}_bucket", f"{by}, le" if by else "le")
    native = rate(histogram, by)
    return f"histogram_quantile({share}, {classic}) or histogram_quantile({share}, {native})"


def total(histogram: str, by: str = "") -> str:
    """Return the sum of the observed values per second over all labels but ``by``."""
    return f"{rate(f'{histogram}_sum', by)} or histogram_sum({rate(histogram, by)})"


def average(histogram: str) -> str:
    """Return the average of the observed values; missing without events."""
    count = f"({rate(f'{histogram}_count')} > 0)"
    native = rate(histogram)
    # The average of no value is NaN, which is not at least 0.
    return f"{rate(f'{histogram}_sum')} / {count} or (histogram_avg({native}) >= 0)"


def percentiles(histogram: str) -> tuple[Query, ...]:
    """Return the queries of the 50th, 95th and 99th percentile."""
    return tuple(
        Query(quantile(part, histogram), name)
        for part, name in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
    )
