"""Every query of every dashboard gives data, where a real Prometheus scrapes the demo under load.

With ``DASHBOARD_PICTURES`` set to a folder, the answers of a longer load are drawn into it:

    DASHBOARD_PICTURES=docs/pictures python -m pytest tests/servers/test_dashboards.py
"""

from __future__ import annotations

import json
import os
import shutil
import time
import urllib.error
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from ivatar_boards import BOARDS
from ivatar_boards.spec import WINDOW, Board, Panel

from tests.support import picture
from tests.support.demo_client import Clients
from tests.support.demo_site import demo
from tests.support.deployed_rules import hastened
from tests.support.grafana import Appearance, panels_of
from tests.support.gunicorn_server import GunicornServer, Serve
from tests.support.otlp_sink import OtlpSink
from tests.support.paths import REPOSITORY
from tests.support.real_prometheus import Prometheus, configured
from tests.support.waiting import eventually

INSTANCE = "prod-instance-01"
CONFIGURATION = """
global:
  scrape_interval: 1s
  evaluation_interval: 1s
  convert_classic_histograms_to_nhcb: {native}
rule_files: [rules/*.yml]
scrape_configs:
  - job_name: ivatar
    static_configs:
      - targets: ["{address}"]
        labels: {{environment: production, instance: {instance}}}
"""
DEADLINE = 300.0
"""Seconds after which the load is given up; never a measurement."""
SILENT = {"Other calls", "Success of other calls", "Time of another call"}
"""Panels without data: the demo calls outside services for avatars only."""
STEP = 2.0
"""Seconds between two points of a picture."""
PICTURES = os.environ.get("DASHBOARD_PICTURES", "")
LONG_ENOUGH = 150.0 if PICTURES else 0.0
"""Seconds of load, so that a picture has something to show."""


def filled_in(expression: str) -> str:
    """What Grafana sends: its variables have values."""
    # A busy machine takes many seconds for a round of requests.
    window = "15s" if PICTURES else "60s"
    values = {WINDOW: window, "$__range": "5m", "$environment": "production", "$instance": ".*"}
    for variable, value in values.items():
        expression = expression.replace(variable, value)
    assert "$" not in expression
    return expression


def lacks_data(prometheus: Prometheus, panel: Panel, at: float) -> list[str]:
    """The queries of a panel that give no number.

    Raises:
        AssertionError: Prometheus does not understand one.
    """
    lacking = []
    for query in panel.queries:
        expression = filled_in(query.expression)
        try:
            values = [float(each["value"][1]) for each in prometheus.query(expression, at)]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{panel.title}: {expression}: {error.read()!r}") from None
        if not any(value == value for value in values):
            lacking.append(f"{panel.title}: {expression}")
    return lacking


def scraped_after(prometheus: Prometheus, asked: float) -> float:
    """The time of a scrape that shows all requests before a time."""

    def scraped() -> float:
        values = [
            float(each["value"][1]) for each in prometheus.query("timestamp(up)", time.time())
        ]
        return max(values, default=0.0) if max(values, default=0.0) > asked else 0.0

    # The time of a sample is that of the beginning of its scrape.
    return eventually(scraped, what="a scrape")


def lines_of(prometheus: Prometheus, panel: Panel, start: float, end: float) -> list[picture.Line]:
    """What the queries of a panel give over a time."""
    lines = []
    start += (end - start) % STEP  # so that the last point is that of the end
    for query in panel.queries:
        answer = prometheus.ask(
            "query_range", query=filled_in(query.expression), start=f"{start:.3f}",
            end=f"{end:.3f}", step=f"{STEP:.0f}",
        )  # fmt: skip
        for each in answer["result"]:
            points = [(float(when), float(value)) for when, value in each["values"]]
            points = [point for point in points if point[1] == point[1]]
            name = picture.legend(query.legend, each["metric"]) or panel.title
            lines.append(picture.Line(name, points))
    return lines


def written(board: Board) -> dict[str, Any]:
    """The JSON of a dashboard."""
    path = REPOSITORY / "deploy" / "grafana" / "dashboards" / f"{board.uid}.json"
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def drawn(prometheus: Prometheus, board: Board, start: float, end: float) -> str:
    """The picture of a dashboard, with the colours and limits of its JSON."""
    panels = {panel["title"]: panel for panel in panels_of(written(board))}
    rows = []
    for row in board.rows:
        charts = [
            picture.Chart(panel.title, panel.width, Appearance.of(panels[panel.title]),
                          lines_of(prometheus, panel, start, end))
            for panel in row.panels if isinstance(panel, Panel)
        ]  # fmt: skip
        if charts:
            rows.append((row.title.replace("$instance", INSTANCE), charts))
    return picture.draw(board.title, rows)


@pytest.fixture(
    params=[
        pytest.param("false", id="classic"),
        pytest.param("true", id="native", marks=pytest.mark.slow),
    ]
)
def watched(
    request: pytest.FixtureRequest,
    serve: Serve,
    tmp_path: Path,
    memcached: str,
    outside: str,
    sink: OtlpSink,
) -> Iterator[tuple[GunicornServer, Prometheus]]:
    """The demo, and a Prometheus that scrapes it and records the deployed rules in fast motion.

    It stores the histograms of the page as they are, or as native ones.
    """
    env = {
        "OTEL_EXPORT_ENABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url,
        "OTEL_METRIC_EXPORT_INTERVAL": "1000", "OTEL_LOGS_EXPORTER": "otlp",
        "AVATAR_TELEMETRY_KEEP": "errors, ratio:0.5",
    }  # fmt: skip
    server = demo(serve, tmp_path, memcached, outside, env)
    folder = tmp_path / "prometheus"
    shutil.copytree(REPOSITORY / "deploy" / "prometheus" / "rules", folder / "rules")
    for path in (folder / "rules").glob("*.yml"):
        path.write_text(hastened(path.read_text()))
    configuration = folder / "prometheus.yml"
    address = server._address.removeprefix("http://")
    settings = {"address": address, "instance": INSTANCE, "native": request.param}
    configuration.write_text(CONFIGURATION.format(**settings))
    with configured(configuration, tmp_path / "store") as prometheus:
        yield server, prometheus


def test_every_query_gives_data(watched: tuple[GunicornServer, Prometheus]) -> None:
    """Under load no panel is empty."""
    server, prometheus = watched
    panels = [panel for board in BOARDS for panel in board.panels if panel.title not in SILENT]
    start = time.time()
    for number in count():
        with Clients(server.request, 2, 150, random_state=number):
            pass
        for _ in range(1 + number % 3 * 2):
            assert server.get(f"/gravatarproxy/z{number:031x}").status == 500
            # The demo has no such page: an attempt that failed.
            assert server.request("POST", "/accounts/import_photo/").status == 404
        end = scraped_after(prometheus, time.time())
        empty = [query for panel in panels for query in lacks_data(prometheus, panel, end)]
        if not empty and time.time() > start + LONG_ENOUGH:
            break
        assert time.time() < start + DEADLINE + LONG_ENOUGH, "\n".join(empty)
    for board in BOARDS:
        for mark in written(board)["annotations"]["list"]:
            prometheus.query(filled_in(mark["expr"]), end)  # an error raises
        image = drawn(prometheus, board, start, end)
        ET.fromstring(image)
        assert image.count("<polyline") >= 5
        if PICTURES:
            Path(PICTURES, f"{board.uid}.svg").write_text(image, encoding="utf-8")
