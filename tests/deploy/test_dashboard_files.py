"""The dashboards that are checked in are those that the generator writes."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import yaml
from ivatar_boards import BOARDS
from ivatar_boards.limits import SMALLEST, comparisons
from ivatar_boards.spec import COLUMNS, Board

from avatar_telemetry.metrics.instruments import INSTRUMENTS
from tests.support.grafana import REDUCED, Appearance, panels_of
from tests.support.paths import REPOSITORY
from tests.support.promtool import rules
from tests.support.requirements import require

GRAFANA = REPOSITORY / "deploy" / "grafana"
BY_UID = [pytest.param(board, id=board.uid) for board in BOARDS]
# They are about a time that no panel shows, or about metrics that are missing.
WITHOUT_PANEL = {
    "AvailabilityBudgetBurnsSlowly", "InstanceIsSilent", "LatencyBudgetBurnsFast",
    "LatencyBudgetBurnsSlowly", "MetricsAreMissing",
}  # fmt: skip


def written(board: Board) -> dict[str, Any]:
    path = GRAFANA / "dashboards" / f"{board.uid}.json"
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def paths(value: object, above: str = "") -> Iterator[str]:
    """The place of every value in a JSON value, with the value where it is no container."""
    if isinstance(value, dict):
        yield above
        for name, each in value.items():
            yield from paths(each, f"{above}/{name}")
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from paths(each, f"{above}/{number}")
    else:
        yield f"{above}={value}"


def texts(value: object) -> Iterator[str]:
    """Every text anywhere in a JSON value."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from texts(each)
    elif isinstance(value, str):
        yield value


if sys.version_info >= (3, 11):  # the library of the generator needs it

    @pytest.mark.parametrize("board", BY_UID)
    def test_the_file_is_what_the_generator_writes(board: Board) -> None:
        """Nobody changed the JSON alone, or the generator without running it."""
        generate = require("generate")
        path: Path = GRAFANA / "dashboards" / f"{board.uid}.json"
        assert path.read_text(encoding="utf-8") == generate.as_json(board)

    @pytest.mark.parametrize("board", BY_UID)
    def test_grafana_knows_every_field(board: Board) -> None:
        """The models that Grafana Labs generates from Grafana's schemas read each field."""
        require("generate")  # imports the library in the version that it needs
        models = require("grafana_foundation_sdk.models.dashboard")
        encoder = require("grafana_foundation_sdk.cog.encoder")
        require("grafana_foundation_sdk.cog.plugins").register_default_plugins()

        def unknown(content: dict[str, Any]) -> list[str]:
            model = models.Dashboard.from_json(content)
            known = json.loads(json.dumps(model, cls=encoder.JSONEncoder))
            return sorted(set(paths(content)) - set(paths(known)))

        content = written(board)
        assert unknown(content) == []
        next(panels_of(content))["options"]["reduceOption"] = {}
        assert len(unknown(content)) == 1


def test_no_other_file_is_there() -> None:
    """A dashboard that was renamed leaves nothing behind."""
    files = {path.stem for path in (GRAFANA / "dashboards").iterdir()}
    assert files == {board.uid for board in BOARDS}


@pytest.mark.parametrize("board", BY_UID)
def test_it_can_be_pointed_at_any_installation(board: Board) -> None:
    """Data sources, environment and instance are variables, and nothing names one of ours."""
    content = written(board)
    names = [each["name"] for each in content["templating"]["list"]]
    assert names == ["datasource", "traces", "logs", "environment", "instance"]
    sources = {each["datasource"]["uid"] for each in panels_of(content)}
    assert sources <= {"${datasource}", "${traces}"}
    for panel in board.panels:
        for query in panel.queries:
            assert "$environment" in query.expression
    for variable in content["templating"]["list"][3:]:
        assert variable["includeAll"] and variable["multi"]
        assert variable["current"]["value"] == ["$__all"]


@pytest.mark.parametrize("board", BY_UID)
def test_its_panels_have_room(board: Board) -> None:
    """Panels do not lie on one another, and each row of the grid is full."""
    taken: set[tuple[int, int]] = set()
    content = written(board)
    headings = [panel for panel in content["panels"] if panel["type"] == "row"]
    for panel in [*headings, *panels_of(content)]:
        grid = panel["gridPos"]
        cells = {(x, y) for x in range(grid["x"], grid["x"] + grid["w"])
                 for y in range(grid["y"], grid["y"] + grid["h"])}  # fmt: skip
        assert not cells & taken, panel["title"]
        assert all(x < COLUMNS for x, _ in cells), panel["title"]
        taken |= cells
    rows = {y for _, y in taken}
    assert len(taken) == len(rows) * COLUMNS


def test_latency_leads_to_traces_and_traces_to_logs() -> None:
    """Every panel in seconds has a way to traces; every list of traces one to their logs."""
    ages = {"Age of the workers", "Time of a scrape"}
    for board in BOARDS:
        latencies = {
            panel.title for panel in board.panels
            if panel.unit == "s" and panel.kind == "lines" and panel.title not in ages
        }  # fmt: skip
        for panel in panels_of(written(board)):
            urls = [text for text in texts(panel) if text.startswith("/explore?")]
            if panel["title"] in latencies and panel["type"] == "timeseries":
                assert any("${traces}" in url and "traceql" in url for url in urls), panel["title"]
                assert any("${logs}" in url for url in urls), panel["title"]
            if panel["datasource"]["uid"] == "${traces}":
                assert any("${logs}" in url for url in urls), panel["title"]


def test_links_are_json_after_grafana_has_filled_them_in() -> None:
    """The state of Explore in an address is JSON, with Grafana's placeholders intact."""
    for board in BOARDS:
        for url in texts(written(board)):
            if url.startswith("/explore?"):
                (panes,) = parse_qs(url.partition("?")[2])["panes"]
                (pane,) = json.loads(panes).values()
                assert pane["datasource"] in ("${traces}", "${logs}")
                assert pane["queries"][0]["datasource"]["uid"] == pane["datasource"]


@pytest.mark.parametrize("board", BY_UID)
def test_each_panel_is_explained(board: Board) -> None:
    """A description has what the panel shows, what is good and what to do."""
    for panel in panels_of(written(board)):
        shows, good, action = panel["description"].split("\n\n")[:3]
        assert shows.endswith(".") and good.endswith(".") and action.endswith("."), panel["title"]
        assert good.startswith("Good: ") and action.startswith("To do: "), panel["title"]


@pytest.mark.parametrize("board", BY_UID)
def test_no_panel_has_the_colours_that_grafana_adds(board: Board) -> None:
    """Each number and bar has its own scale, calculation and lowest value; no default fills in."""
    for panel in panels_of(written(board)):
        if panel["datasource"]["uid"] != "${datasource}":
            continue
        defaults = panel["fieldConfig"]["defaults"]
        assert defaults["min"] == 0 and defaults["unit"], panel["title"]
        assert defaults["thresholds"]["mode"] == "absolute"
        if panel["type"] in REDUCED:
            assert panel["options"]["reduceOptions"]["calcs"] == ["lastNotNull"]
            assert Appearance.of(panel).by_thresholds
        if panel["type"] == "stat":
            assert panel["options"]["colorMode"] == "value"
            assert panel["options"]["graphMode"] == "area"


def test_colours_are_those_of_the_meaning() -> None:
    """Traffic is neutral, errors are red from the limit on, a good ratio is green."""
    overview = next(board for board in BOARDS if board.uid == "ivatar-overview")
    scales = {
        panel["title"]: Appearance.of(panel) for panel in panels_of(written(overview))
        if panel["type"] == "stat"
    }  # fmt: skip
    assert scales["Requests"].colour(262) == "blue"
    assert [scales["Errors"].colour(value) for value in (0, 0.03, 0.06, 1)] == [
        "green", "yellow", "red", "red"
    ]  # fmt: skip
    assert [scales["Cache hits"].colour(value) for value in (0.7, 0.85, 0.95)] == [
        "red", "yellow", "green"
    ]  # fmt: skip
    without = Appearance.of({"type": "stat", "fieldConfig": {"defaults": {}}})
    assert [without.colour(value) for value in (1, 262)] == ["green", "red"]


def first_bad(operator: str, number: str) -> float:
    """The step of a scale for a comparison: more than 0 events, or not 1 where 0 is bad."""
    return float(number) or {">": SMALLEST, "==": 1.0}[operator]


def test_limits_are_those_of_the_alert_rules() -> None:
    """A panel that names an alert is red where its rule fires, and each rule has a panel."""
    expressions = {rule["alert"]: rule["expr"] for rule in rules() if "alert" in rule}
    named = set()
    for board in BOARDS:
        drawn = {panel["title"]: panel for panel in panels_of(written(board))}
        for panel in board.panels:
            if panel.limits is None or not panel.limits.alert:
                continue
            named.add(panel.limits.alert)
            appearance = Appearance.of(drawn[panel.title])
            numbers = re.findall(r"(==|[<>]) ([\d.]+)", expressions[panel.limits.alert])
            rising = comparisons()[panel.limits.alert].operator == ">"
            lowest, *_, highest = appearance.steps
            assert [lowest.colour, highest.colour] == ["green", "red"][:: 1 if rising else -1]
            limit = highest if rising else appearance.steps[1]
            assert limit.start in {first_bad(*each) for each in numbers}, panel.title
            assert appearance.kind != "timeseries" or appearance.dashed
            assert panel.limits.alert in drawn[panel.title]["description"]
    assert named == set(expressions) - WITHOUT_PANEL


def test_latency_panels_have_exemplars() -> None:
    """One query of each panel with a quantile of a time asks for exemplars."""
    for board in BOARDS:
        for panel in panels_of(written(board)):
            wanted = panel["type"] == "timeseries" and panel["fieldConfig"]["defaults"][
                "unit"
            ] == "s" and "histogram_quantile" in panel["targets"][0]["expr"]  # fmt: skip
            marked = [each for each in panel["targets"] if each.get("exemplar")]
            assert len(marked) == wanted, panel["title"]


def test_alerts_and_deployments_are_marked() -> None:
    """Each dashboard has the alerts, the new versions and the restarts as annotations."""
    for board in BOARDS:
        marks = written(board)["annotations"]["list"]
        assert [each["name"] for each in marks] == ["Alerts", "Deployments", "Restarts"]
        assert "ALERTS" in marks[0]["expr"] and "target_info" in marks[1]["expr"]


def test_a_row_repeats_by_instance() -> None:
    """The overview has a collapsed row of each host."""
    overview = next(board for board in BOARDS if board.uid == "ivatar-overview")
    (row,) = [each for each in written(overview)["panels"] if each.get("repeat")]
    assert row["repeat"] == "instance" and row["collapsed"] and len(row["panels"]) >= 4


def test_every_instrument_is_on_a_dashboard() -> None:
    """What is measured can be seen."""
    queries = " ".join(text for board in BOARDS for text in texts(written(board)))
    suffix = {"counter": "_total", "histogram": "_bucket", "gauge": ""}
    missing = {each.name for each in INSTRUMENTS if each.name + suffix[each.type] not in queries}
    assert not missing


def test_grafana_finds_what_it_is_told_of() -> None:
    """The provisioning names the data sources that the dashboards can choose from."""
    path = GRAFANA / "provisioning" / "datasources" / "datasources.yml"
    sources = {each["type"]: each for each in yaml.safe_load(path.read_text())["datasources"]}
    assert set(sources) == {"prometheus", "tempo", "loki"}
    (exemplars,) = sources["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert exemplars == {"name": "trace_id", "datasourceUid": sources["tempo"]["uid"]}
