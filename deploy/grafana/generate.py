"""Write the dashboards in the format of Grafana.

    pip install '.[dashboards]'
    python deploy/grafana/generate.py

Change ``ivatar_boards``, run this, and commit both.
"""

from __future__ import annotations

import json
from itertools import count
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
    BigValueColorMode,
    BigValueGraphMode,
    DataSourceRef,
    GraphThresholdsStyleMode,
    StackingMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DynamicConfigValue,
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from ivatar_boards import BOARDS
from ivatar_boards.limits import SMALLEST, Limits
from ivatar_boards.spec import ENVIRONMENT, SELECT, Board, Help, Panel, Row, Traces

FOLDER = Path(__file__).parent / "dashboards"
TAG = "ivatar"
PROMETHEUS = DataSourceRef("prometheus", "${datasource}")
TEMPO = DataSourceRef("tempo", "${traces}")
PANEL_HEIGHT, NUMBER_HEIGHT, TRACES_HEIGHT = 8, 4, 9
FILL = {True: 30, False: 8}
"""Opacity in percent, of stacked lines and of others."""
GOOD, WATCH, BAD, NEUTRAL = "green", "yellow", "red", "blue"
IN_A_MENU = "inControlsMenu"
"""The placement that the library gives to every link and annotation."""
HEADROOM = 1.2
"""The axis of a graph ends at least this far above its limit, so that the line of it is visible."""
ALIVE = "ivatar_requests_in_progress"
"""The metric that every server has from its start on."""
MASTER = f'process_start_time_seconds{{worker="master",{SELECT}}}'
ANNOTATIONS = (
    ("Alerts", f'ALERTS{{alertstate="firing",{ENVIRONMENT}}}', BAD,
     "{{alertname}}", "{{severity}}: {{path}}{{service}}{{operation}}{{instance}}"),
    ("Deployments", f"count by (service_version) (target_info{{{SELECT}}} unless "
                    f"target_info{{{SELECT}}} offset 2m)", NEUTRAL,
     "Version {{service_version}}", "First metrics of this version or host."),
    ("Restarts", f"changes({MASTER}[2m]) > 0", "purple", "Restart", "{{instance}}"),
)  # fmt: skip
"""Name, query, colour, title and text of the marks in all graphs."""


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
    for annotation in ANNOTATIONS:
        builder = builder.annotation(_annotation(*annotation))
    for row in board.rows:
        _add_row(builder, row)
    model = builder.build()
    number = count(1)
    for panel in model.panels or ():
        for each in (panel, *getattr(panel, "panels", ())):
            each.id_val = next(number)
    document = json.loads(json.dumps(model, cls=JSONEncoder), object_hook=_visible)
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def _visible(fields: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value != IN_A_MENU}


def _add_row(builder: dashboard.Dashboard, row: Row) -> None:
    heading = dashboard.Row(row.title)
    drawn = [_traces(each) if isinstance(each, Traces) else _panel(each) for each in row.panels]
    if row.repeat:
        for panel in drawn:
            heading = heading.with_panel(panel)
        builder.with_row(heading.repeat(row.repeat))
        return
    builder.with_row(heading)
    for panel in drawn:
        builder.with_panel(panel)


def _variables() -> list:
    return [
        dashboard.DatasourceVariable("datasource").label("Metrics").type("prometheus"),
        dashboard.DatasourceVariable("traces").label("Traces").type("tempo"),
        dashboard.DatasourceVariable("logs").label("Logs").type("loki"),
        _label_variable("environment", f"label_values({ALIVE}, environment)"),
        _label_variable("instance", f"label_values({ALIVE}{{{ENVIRONMENT}}}, instance)"),
    ]


def _label_variable(name: str, query: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(name.capitalize()).datasource(PROMETHEUS).query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True).include_all(True).all_value(".*")
        .current(VariableOption(selected=True, text=["All"], value=["$__all"]))
    )  # fmt: skip


def _other_boards() -> dashboard.DashboardLink:
    link = dashboard.DashboardLink("Avatar server").type(DashboardLinkType.DASHBOARDS)
    return link.tags([TAG]).as_dropdown(True).include_vars(True).keep_time(True)


def _annotation(
    name: str, query: str, colour: str, title: str, text: str
) -> dashboard.AnnotationQuery:
    return (
        dashboard.AnnotationQuery()
        .name(name).datasource(PROMETHEUS).enable(True).icon_color(colour)
        .expr(query).step("30s").title_format(title).text_format(text)
    )  # fmt: skip


def _panel(panel: Panel):
    builders = {"lines": _lines, "number": _number, "bars": _bars}
    height = NUMBER_HEIGHT if panel.kind == "number" else PANEL_HEIGHT
    builder = (
        builders[panel.kind](panel)
        .title(panel.title).description(_description(panel.help, panel)).unit(panel.unit)
        .datasource(PROMETHEUS).height(height).span(panel.width)
        .min(0).thresholds(_thresholds(panel.limits))
    )  # fmt: skip
    if panel.unit == "percentunit" and not (panel.limits and panel.limits.rising):
        builder = builder.max(1)
    for letter, query in zip("ABCDEFGH", panel.queries, strict=False):
        target = prometheus.Dataquery().ref_id(letter).expr(query.expression)
        target = target.legend_format(query.legend or "__auto")
        if panel.traces and query is panel.queries[-1] and "histogram_quantile" in query.expression:
            target = target.exemplar(True)  # all quantiles have the same
        builder = builder.with_target(target.instant() if panel.kind == "bars" else target.range())
    if panel.traces:
        builder = builder.data_links([
            _link("Traces", _explore_traces(panel.traces)), _link("Logs", _explore_logs()),
        ])  # fmt: skip
    return builder


def _description(text: Help, panel: Panel | None = None) -> str:
    lines = [text.shows, f"Good: {text.good}", f"To do: {text.action}"]
    if panel and panel.limits and panel.limits.alert:
        red = _red(panel.limits, panel.unit)
        lines.append(f"{red}: the limit of the alert {panel.limits.alert}.")
    return "\n\n".join(lines)


def _red(limits: Limits, unit: str) -> str:
    if limits.red == SMALLEST:
        return "Red above 0"
    limit = _with_unit(limits.red, unit)
    return f"Red from {limit} on" if limits.rising else f"Red below {limit}"


def _with_unit(value: float, unit: str) -> str:
    if unit == "percentunit":
        return f"{value * 100:g} %"
    if unit == "bytes":
        return f"{value / (1 << 20):g} MiB"
    return f"{value:g} s" if unit == "s" else f"{value:g}"


def _thresholds(limits: Limits | None) -> dashboard.ThresholdsConfig:
    if limits is None:
        steps = {None: NEUTRAL}
    elif limits.rising:
        steps = {None: GOOD, limits.yellow: WATCH, limits.red: BAD}
    else:
        steps = {None: BAD, limits.red: WATCH, limits.yellow: GOOD}
    return (
        dashboard.ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps([Threshold(value, colour) for value, colour in steps.items()])
    )  # fmt: skip


def _lines(panel: Panel) -> timeseries.Panel:
    stacking = StackingMode.NORMAL if panel.stacked else StackingMode.NONE
    builder = (
        timeseries.Panel()
        .fill_opacity(FILL[panel.stacked]).stacking(common.StackingConfig().mode(stacking))
        .legend(common.VizLegendOptions().show_legend(True).calcs(["lastNotNull", "max"]))
    )  # fmt: skip
    if panel.limits:
        dashed = common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED)
        builder = builder.thresholds_style(dashed).axis_soft_max(panel.limits.red * HEADROOM)
    return builder


def _number(panel: Panel) -> stat.Panel:
    return (
        stat.Panel()
        .reduce_options(_last()).graph_mode(BigValueGraphMode.AREA)
        .color_mode(BigValueColorMode.VALUE)
    )  # fmt: skip


def _bars(panel: Panel) -> bargauge.Panel:
    return (
        bargauge.Panel()
        .reduce_options(_last()).orientation(VizOrientation.HORIZONTAL)
        .display_mode(BarGaugeDisplayMode.BASIC)
    )  # fmt: skip


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().values(False).calcs(["lastNotNull"]).fields("")


def _traces(panel: Traces) -> tables.Panel:
    query = tempo.Dataquery().query_type("traceql").query(panel.query).limit(20).ref_id("A")
    to_logs = [_link_value("Logs of this trace", _explore_logs("${__data.fields.traceID}"))]
    return (
        tables.Panel()
        .title(panel.title).description(_description(panel.help))
        .datasource(TEMPO).height(TRACES_HEIGHT).span(panel.width)
        .with_target(query)
        # Not on the trace id: that would replace the data source's own link, to the trace.
        .override_by_name("traceName", [DynamicConfigValue("links", to_logs)])
    )  # fmt: skip


def _link(title: str, url: str) -> dashboard.DashboardLink:
    return dashboard.DashboardLink(title).url(url).target_blank(True)


def _link_value(title: str, url: str) -> dict[str, object]:
    return {"title": title, "url": url, "targetBlank": True}


def _explore_traces(query: str) -> str:
    return _explore("tempo", "${traces}", {"queryType": "traceql", "query": query, "limit": 20})


def _explore_logs(trace: str = "") -> str:
    query = '{service_name=~"ivatar.*"}'
    if trace:
        # The id is in any field of the line, or in an attribute if the record came over OTLP.
        both = "{{.trace_id}} {{__line__}}"
        query += f' | line_format "{both}" |= "{trace}"'
    return _explore("loki", "${logs}", {"expr": query})


def _explore(kind: str, source: str, query: dict[str, object]) -> str:
    """Return the address of Grafana's Explore, with Grafana's placeholders unescaped."""
    target = {"refId": "A", "datasource": {"type": kind, "uid": source}, **query}
    time_range = {"from": "${__from}", "to": "${__to}"}
    panes = {"it": {"datasource": source, "queries": [target], "range": time_range}}
    text = quote(json.dumps(panes), safe="${}:")
    return f"/explore?schemaVersion=1&panes={text}"


if __name__ == "__main__":
    main()
