"""The trial of the telemetry in a real browser, after the start of the demo.

With ``TEST_SCREENSHOTS`` set to a folder, each test leaves pictures of the page there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from avatar_demo.simulate import open_browser
from tests.support.browser import chromium
from tests.support.gunicorn_server import is_running, parse, total
from tests.support.running import DemoServer, simulate
from tests.support.running_fixtures import bare_environment  # noqa: F401 - a fixture
from tests.support.waiting import DEADLINE, eventually

pytestmark = pytest.mark.slow

SCREENSHOTS = os.environ.get("TEST_SCREENSHOTS", "")
WIDTHS = [pytest.param(1440, 900, id="desktop"), pytest.param(390, 844, id="phone")]
FIGURES = """
const found = {bars: 0};
document.querySelectorAll("[data-figure]").forEach((each) => {
    found[each.dataset.figure] = each.textContent;
});
document.querySelectorAll("#histogram meter").forEach((each) => { found.bars += each.value; });
return found;
"""
STORE = "sessionStorage.setItem(STORED, JSON.stringify({ivatar_made_up_total: 7}))"
MESSAGE = """return document.querySelector(".message")?.textContent ?? "" """
OVERFLOW = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture
def driver(width: int, height: int) -> Iterator[Any]:
    """The browser; before the server, because it may be missing."""
    with chromium(width, height) as started:
        yield started


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DemoServer]:
    """The demo, as its command starts it."""
    with DemoServer(tmp_path, DEMO_DEVELOPMENT="1") as started:
        yield started


def expected(server: DemoServer) -> dict[str, object]:
    """The figures that follow from the page of metrics."""
    with open_browser() as session:
        metrics = parse(session.get(f"{server.url}/metrics", timeout=DEADLINE).text)

    def number(name: str, **labels: str) -> int:
        return int(total(metrics, name, **labels))

    hits = number("ivatar_avatar_cache_hits_total")
    lookups = hits + number("ivatar_avatar_cache_misses_total")
    found = {
        "requests": number("ivatar_requests_total"),
        "avatars": number("ivatar_avatar_requests_total"),
        "uploads": number("ivatar_file_uploads_total", success="true"),
        "refused": number("ivatar_file_uploads_total", success="false"),
        "workers": number("gunicorn_workers"),
    }
    assert all(found.values()), found
    return {name: str(value) for name, value in found.items()} | {
        "cache": f"{int(100 * hits / lookups + 0.5)} %", "bars": found["requests"],
    }  # fmt: skip


def figures(driver: Any) -> dict[str, Any]:
    """The figures that the page shows, and the sum of the bars."""
    found: dict[str, Any] = driver.execute_script(FIGURES)
    return found


def await_counts(driver: Any) -> re.Match[str]:
    """Wait until the page has compared the counts: those that decreased, and all."""
    pattern = r"(\d+) of (\d{2,})"
    return eventually(lambda: re.fullmatch(pattern, figures(driver)["decreased"]), what=pattern)


def press(driver: Any, action: str, message: str) -> re.Match[str]:
    """Press a button, and wait for the page with this message."""
    driver.find_element("css selector", f"button[value={action}]").click()
    return eventually(lambda: re.fullmatch(message, driver.execute_script(MESSAGE)), what=message)


def look(driver: Any, name: str) -> None:
    """Check that the page is not wider than the screen; take a picture if asked to."""
    if SCREENSHOTS:
        driver.save_screenshot(f"{SCREENSHOTS}/{name}.png")
    assert driver.execute_script(OVERFLOW) <= 0


@pytest.mark.parametrize(("width", "height"), WIDTHS)
def test_what_a_newcomer_sees(driver: Any, server: DemoServer, width: int) -> None:
    """The figures are those of /metrics, they grow with traffic, and no kill decreases them."""
    assert simulate(server.url, "-n", 120, "-c", 1, "--random-state", 3).status == 0
    driver.get(server.url)
    look(driver, f"home-{width}")
    driver.find_element("link text", "Statistics").click()
    equal = lambda: figures(driver).items() >= expected(server).items()  # noqa: E731
    eventually(equal, what="figures that equal the metrics")
    look(driver, f"statistics-{width}")

    goal = int(figures(driver)["requests"]) + 20
    press(driver, "traffic", r"Traffic is sent for 60 seconds\.")
    eventually(lambda: int(figures(driver)["requests"] or 0) > goal, what="requests")
    look(driver, f"traffic-{width}")
    (killed,) = press(driver, "kill", r"Worker (\d+) was killed\.").groups()
    eventually(lambda: not is_running(int(killed)), what="the end of the worker")
    assert int(await_counts(driver)[1]) == 0
    assert int(figures(driver)["requests"]) > goal
    look(driver, f"killed-{width}")

    driver.execute_script(STORE)
    driver.refresh()
    assert int(await_counts(driver)[1]) == 1
    # Neither the Content-Security-Policy nor a missing file is complained of.
    assert [each for each in driver.get_log("browser") if each["level"] == "SEVERE"] == []


@pytest.mark.parametrize(("width", "height"), WIDTHS)
def test_without_javascript(driver: Any, server: DemoServer) -> None:
    """The page refers to the metrics, and its buttons work."""
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    driver.get(f"{server.url}/statistics/")
    assert "needs JavaScript" in driver.find_element("tag name", "main").text
    assert not driver.find_element("id", "live").is_displayed()
    driver.find_element("css selector", "button[value=kill]").click()
    status = eventually(lambda: driver.find_elements("class name", "message"), what="message")
    assert re.fullmatch(r"Worker \d+ was killed\.", status[0].text)
    driver.find_element("link text", "/metrics").click()
    eventually(lambda: "ivatar_requests_total{" in driver.page_source, what="the metrics")
