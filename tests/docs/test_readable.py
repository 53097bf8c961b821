"""The site in a browser: nothing is cut off or behind a scroll bar, at a desk or on a telephone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from queue import Queue

import pytest

from tests.support.local_server import Handler, make_server, serving
from tests.support.paths import REPOSITORY
from tests.support.real_servers import find
from tests.support.site import built_site

WIDTHS = (1440, 390)
HARNESS = (REPOSITORY / "tests" / "support" / "measure.html").read_bytes()
PATIENCE = 600


class SiteHandler(Handler, SimpleHTTPRequestHandler):
    """Serves the site, the page that measures it, and gets what that finds.

    Args:
        pages: the addresses to measure.
        found: gets the findings.
    """

    def __init__(self, *args: object, pages: list[str], found: Queue[list[str]], **options: object):
        self._pages, self._found = pages, found
        super().__init__(*args, **options)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        if self.path == "/measure.html":
            self.respond(200, HARNESS, Content_Type="text/html")
        elif self.path == "/measure.json":
            self.respond(200, json.dumps({"pages": self._pages, "widths": WIDTHS}).encode())
        else:
            super().do_GET()

    def do_POST(self) -> None:
        self._found.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.respond(204)


@contextmanager
def browser(profile: Path, url: str) -> Iterator[None]:
    """Chromium without a window, with its own profile, on one page."""
    options = (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--disable-background-networking", "--no-first-run",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", f"--user-data-dir={profile}",
    )  # fmt: skip
    with open(profile / "log", "wb") as log:
        process = subprocess.Popen(
            [find("chromium"), *options, url], stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
def test_nothing_is_cut_off(tmp_path: Path) -> None:
    """On each page, at each width, what it has is within the window, tables and code, too."""
    find("chromium")
    site = built_site(tmp_path / "site")
    pages = [f"/{each.relative_to(site).parent}/" for each in site.rglob("index.html")]
    found: Queue[list[str]] = Queue()
    handler = partial(SiteHandler, directory=str(site), pages=sorted(pages), found=found)
    server = make_server(handler)  # type: ignore[arg-type]
    profile = tmp_path / "profile"
    profile.mkdir()
    with serving(server), browser(profile, f"http://127.0.0.1:{server.server_port}/measure.html"):
        assert found.get(timeout=PATIENCE) == []
