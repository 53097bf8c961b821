"""Draw ``top`` from the demo server with simulated visitors, as SVG.

python -m tests.support.top_picture docs/pictures/top.svg
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path

from avatar_telemetry.cli.layout import UNICODE
from avatar_telemetry.cli.live import TopApp
from avatar_telemetry.cli.top import Watched
from tests.support.otlp_sink import OtlpSink
from tests.support.paths import REPOSITORY
from tests.support.running import DemoServer, demo_command, environment
from tests.support.stand_in import gravatar

URL = "http://127.0.0.1:8000"
SIZE, STATES, INTERVAL, RATE = (120, 24), 60, 1.0, 50
FONTS = re.compile(r"@font-face {.*?}\s*", re.DOTALL)


async def draw(server: DemoServer) -> str:
    """Draw a server after some intervals."""
    states = Watched(server.url, "").states(INTERVAL)
    app = TopApp(URL, islice(states, STATES), INTERVAL, UNICODE)
    async with app.run_test(size=SIZE) as pilot:
        await asyncio.sleep(STATES * INTERVAL)
        await pilot.pause()
        return app.export_screenshot()


def main(path: Path) -> None:
    """Write the picture; it takes somewhat longer than a minute."""
    with (
        tempfile.TemporaryDirectory() as folder,
        gravatar() as outside,
        OtlpSink() as sink,
        DemoServer(Path(folder), 4, OTEL_EXPORT_ENABLED="true",
                   OTEL_EXPORTER_OTLP_ENDPOINT=sink.url, DEMO_GRAVATAR="1",
                   DEMO_GRAVATAR_URL=outside) as server,
        subprocess.Popen(
            demo_command("avatar_demo.simulate", server.url, "-n", 1_000_000, "--rate", RATE,
                         "--outside"),
            cwd=REPOSITORY, env=environment(), stdout=subprocess.DEVNULL,
        ) as visitors,
    ):  # fmt: skip
        try:
            svg = asyncio.run(draw(server))
        finally:
            visitors.kill()  # it has nothing to finish
    # Fonts of another server are not loaded by a page that shows the picture.
    path.write_text(FONTS.sub("", svg), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
