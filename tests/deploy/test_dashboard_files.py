"""The dashboards that are checked in are those that the generator writes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ivatar_boards import BOARDS
from ivatar_boards.spec import COLUMNS, Board

from avatar_telemetry.metrics.instruments import INSTRUMENTS
from tests.support.paths import REPOSITORY
from tests.support.requirements import require

GRAFANA = REPOSITORY / "deploy" / "grafana"
BY_UID = [pytest.param(board, id=board.uid) for board in BOARDS]


def written(board: Board) -> dict[str, Any]:
    path = GRAFANA / "dashboards" / f"{board.uid}.json"
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


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
    sources = {each["datasource"]["uid"] for each in content["panels"] if "datasource" in each}
    assert sources <= {"${datasource}", "${traces}"}
    for panel in board.panels:
        for query in panel.queries:
            assert "$environment" in query.expression


@pytest.mark.parametrize("board", BY_UID)
def test_its_panels_have_room(board: Board) -> None:
    """Panels do not lie on one another, and each row of the grid is full."""
    taken: set[tuple[int, int]] = set()
    for panel in written(board)["panels"]:
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
        for panel in written(board)["panels"]:
            urls = [text for text in texts(panel) if text.startswith("/explore?")]
            if panel["title"] in latencies and panel["type"] != "row":
                assert any("${traces}" in url and "traceql" in url for url in urls), panel["title"]
            if panel.get("datasource", {}).get("uid") == "${traces}":
                assert any("${logs}" in url for url in urls), panel["title"]


def test_every_instrument_is_on_a_dashboard() -> None:
    """What is measured can be seen."""
    queries = " ".join(text for board in BOARDS for text in texts(written(board)))
    suffix = {"counter": "_total", "histogram": "_bucket", "gauge": ""}
    missing = {each.name for each in INSTRUMENTS if each.name + suffix[each.type] not in queries}
    assert not missing


def test_grafana_finds_what_it_is_told_of() -> None:
    """The provisioning names the data sources that the dashboards can choose from."""
    path = GRAFANA / "provisioning" / "datasources" / "datasources.yml"
    kinds = {each["type"] for each in yaml.safe_load(path.read_text())["datasources"]}
    assert kinds == {"prometheus", "tempo", "loki"}
