"""A real Chromium without a window."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.real_servers import find
from tests.support.requirements import require

# A test runs as root in CI, where Chromium has no sandbox; the pages are our own.
ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
             "--no-proxy-server")  # fmt: skip


@contextmanager
def chromium(width: int, height: int) -> Iterator[Any]:
    """Start a browser, and end it with the block.

    Args:
        width: of the page, in pixels.
        height: of its visible part.

    Returns:
        Selenium's driver; ``get_log("browser")`` has the messages of the console.
    """
    webdriver = require("selenium.webdriver", "selenium is not installed (extra dev)")
    options = webdriver.ChromeOptions()
    options.binary_location = find("chromium")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for argument in ARGUMENTS:
        options.add_argument(argument)
    driver = webdriver.Chrome(options, webdriver.ChromeService(find("chromedriver")))
    try:
        # Not the size of the window, which has a minimum.
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        yield driver
    finally:
        driver.quit()
