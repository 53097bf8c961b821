"""Write the dashboards in the format of Grafana.

    pip install '.[dashboards]'
    python deploy/grafana/generate.py

Change ``ivatar_boards``, run this, and commit both.
"""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    prometheus,
    stat,
    tempo,
    timeseries,
)
from grafana_foundation_sdk.builders import table as tables
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    BigValueGraphMode,
    StackingMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    DynamicConfigValue,
    VariableRefresh,
    VariableSort,
)
from ivatar_boards import BOARDS
from ivatar_boards.spec import COLUMNS, Board, Panel, Traces

FOLDER = Path(__file__).parent / "dashboards"
TAG = "ivatar"
PROMETHEUS = DataSourceRef("prometheus", "${datasource}")
TEMPO = DataSourceRef("tempo", "${traces}")
PANEL_HEIGHT, NUMBER_HEIGHT, TRACES_HEIGHT = 8, 4, 9
FILL = {True: 30, False: 8}
"""Opacity in percent, of stacked lines and of others."""


def main() -> None:
    """Write one file for each board."""
    FOLDER.mkdir(exist_ok=True)
    for board in BOARDS:
        (FOLDER / f"{board.uid}.json").write_text(as_json(board), encoding="utf-8")


def as_json(board: Board) -> str:
    """A dashboard in Grafana's format."""
    builder = (
        dashboard.Dashboard(board.title)
        .uid(board.uid).description(board.description).tags([TAG])
        .tooltip(DashboardCursorSync.CROSSHAIR).time("now-1h", "now").refresh("30s")
        .link(_other_boards())
    )  # fmt: skip
    for variable in _variables():
        builder = builder.with_variable(variable)
    for row in board.rows:
        builder = builder.with_row(dashboard.Row(row.title))
        for panel in row.panels:
            drawn = _traces(panel) if isinstance(panel, Traces) else _panel(panel)
            builder = builder.with_panel(drawn)
    model = builder.build()
    for number, panel in enumerate(model.panels or (), 1):
        panel.id_val = number
    return json.dumps(model, cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def _variables() -> list:
    # The metric that every server has from its start on.
    alive = "ivatar_requests_in_progress"
    return [
        dashboard.DatasourceVariable("datasource").label("Metrics").type("prometheus"),
        dashboard.DatasourceVariable("traces").label("Traces").type("tempo"),
        dashboard.DatasourceVariable("logs").label("Logs").type("loki"),
        _label_variable("environment", f"label_values({alive}, environment)"),
        _label_variable(
            "instance", f'label_values({alive}{{environment=~"$environment"}}, instance)'
        ),
    ]


def _label_variable(name: str, query: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(name.capitalize()).datasource(PROMETHEUS).query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True).include_all(True).all_value(".*")
    )  # fmt: skip


def _other_boards() -> dashboard.DashboardLink:
    link = dashboard.DashboardLink("Avatar server").type(DashboardLinkType.DASHBOARDS)
    return link.tags([TAG]).as_dropdown(True).include_vars(True).keep_time(True)


def _panel(panel: Panel):
    builders = {"lines": _lines, "number": _number, "bars": _bars}
    height = NUMBER_HEIGHT if panel.kind == "number" else PANEL_HEIGHT
    builder = (
        builders[panel.kind](panel)
        .title(panel.title).description(panel.description).unit(panel.unit)
        .datasource(PROMETHEUS).height(height).span(panel.width)
    )  # fmt: skip
    if panel.unit == "percentunit":
        builder = builder.min(0).max(1)
    for letter, query in zip("ABCDEFGH", panel.queries, strict=False):
        target = prometheus.Dataquery().ref_id(letter).expr(query.expression)
        target = target.legend_format(query.legend or "__auto")
        builder = builder.with_target(target.range() if panel.kind == "lines" else target.instant())
    if panel.traces:
        builder = builder.data_links([_link("Traces", _explore_traces(panel.traces))])
    return builder


def _lines(panel: Panel) -> timeseries.Panel:
    stacking = StackingMode.NORMAL if panel.stacked else StackingMode.NONE
    return (
        timeseries.Panel()
        .fill_opacity(FILL[panel.stacked]).stacking(common.StackingConfig().mode(stacking))
        .legend(common.VizLegendOptions().show_legend(True).calcs(["lastNotNull", "max"]))
    )  # fmt: skip


def _number(panel: Panel) -> stat.Panel:
    last = common.ReduceDataOptions().calcs(["lastNotNull"])
    return stat.Panel().reduce_options(last).graph_mode(BigValueGraphMode.NONE)


def _bars(panel: Panel) -> bargauge.Panel:
    last = common.ReduceDataOptions().calcs(["lastNotNull"])
    return (
        bargauge.Panel()
        .reduce_options(last).orientation(VizOrientation.HORIZONTAL)
        .display_mode(BarGaugeDisplayMode.BASIC)
    )  # fmt: skip


def _traces(panel: Traces) -> tables.Panel:
    query = tempo.TempoQuery().query_type("traceql").query(panel.query).limit(20).ref_id("A")
    to_logs = [_link_value("Logs of this trace", _explore_logs())]
    return (
        tables.Panel()
        .title(panel.title).datasource(TEMPO).height(TRACES_HEIGHT).span(COLUMNS // 2)
        .with_target(query)
        .override_by_name("traceID", [DynamicConfigValue("links", to_logs)])
    )  # fmt: skip


def _link(title: str, url: str) -> dashboard.DashboardLink:
    return dashboard.DashboardLink(title).url(url).target_blank(True)


def _link_value(title: str, url: str) -> dict[str, object]:
    return {"title": title, "url": url, "targetBlank": True}


def _explore_traces(query: str) -> str:
    return _explore("tempo", "${traces}", {"queryType": "traceql", "query": query, "limit": 20})


def _explore_logs() -> str:
    # The id is in any field of the line, or in an attribute if the record came over OTLP.
    both = "{{.trace_id}} {{__line__}}"
    query = f'{{service_name=~"ivatar.*"}} | line_format "{both}" |= "${{__value.raw}}"'
    return _explore("loki", "${logs}", {"expr": query})


def _explore(kind: str, source: str, query: dict[str, object]) -> str:
    """Return the address of Grafana's Explore, with Grafana's placeholders unescaped."""
    target = {"refId": "A", "datasource": {"type": kind, "uid": source}, **query}
    time_range = {"from": "${__from}", "to": "${__to}"}
    panes = {"it": {"datasource": source, "queries": [target], "range": time_range}}
    text = quote(json.dumps(panes), safe="${}")
    return f"/explore?schemaVersion=1&panes={text}"


if __name__ == "__main__":
    main()
