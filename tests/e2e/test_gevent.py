"""gevent patches the library after a preloaded application was imported; nothing hangs by it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.gunicorn_server import Answer, Background, GunicornServer, Serve
from tests.support.paths import APPS, REPOSITORY
from tests.support.rows import PRELOAD, by_default

# To name this profile takes a while each time, in which gevent turns to other requests.
SLOW_PROFILE = """
import time
from avatar_telemetry.profiles.generic import PROFILE as GENERIC

def __getattr__(name):
    if name != "PROFILE":
        raise AttributeError(name)
    time.sleep(0.3)
    return GENERIC
"""

# A collector of the application's own that waits, as one does that asks a database.
SLOW_METRIC = """
import time
from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily
from plain import application

class SlowCollector:
    def collect(self):
        time.sleep(0.3)
        yield GaugeMetricFamily("slow", "Comes late.", value=1)

REGISTRY.register(SlowCollector())
"""


def ask_together(server: GunicornServer, path: str) -> list[Answer | None]:
    """What three clients get that ask at once."""
    requests = [Background(lambda: server.get(path)) for _ in range(3)]
    return [request.join() for request in requests]


@pytest.mark.parametrize("preload", by_default("preload", PRELOAD))
def test_first_requests_come_together(prepare: Serve, preload: bool) -> None:
    """While the layer is made for the first request, others wait and the worker does not stop."""
    server = prepare(
        "plain:application", workers=1, worker_class="gevent", preload_app=preload,
        env={"AVATAR_TELEMETRY_PROFILE": "slow_profile:PROFILE"},
    )  # fmt: skip
    (server.path / "slow_profile.py").write_text(SLOW_PROFILE)
    server.launch()
    server.await_listening()
    answers = ask_together(server, "/")
    assert [answer and answer.status for answer in answers] == [200, 200, 200]
    server.await_requests(3)


@pytest.mark.parametrize("preload", by_default("import", PRELOAD))
def test_scrapes_come_together(prepare: Serve, preload: bool) -> None:
    """While a collector of the application makes one scrape wait, others wait, too, and end."""
    server = prepare(
        "slow_metric:application", workers=1, worker_class="gevent", preload_app=preload, hooks=""
    )
    (server.path / "slow_metric.py").write_text(SLOW_METRIC)
    server.start()
    answers = ask_together(server, "/metrics")
    assert ["\nslow 1" in answer.text for answer in answers if answer] == [True, True, True]
    assert server.get("/").status == 200


@pytest.mark.parametrize("preload", by_default("preload", PRELOAD))
def test_demo_waits_for_its_database(serve: Serve, tmp_path: Path, preload: bool) -> None:
    """While the demo tries to open its database, other requests do not stop the worker."""
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    (data / "demo.sqlite3").write_text("no database" * 100)
    server = serve(
        "wsgi:application", workers=1, worker_class="gevent", preload_app=preload,
        pythonpath=f"{REPOSITORY},{APPS}", env={"DEMO_DATA": str(data)},
    )  # fmt: skip
    answers = ask_together(server, "/stats/")
    assert [answer and answer.status for answer in answers] == [500, 500, 500]
    (data / "demo.sqlite3").unlink()
    assert server.get("/stats/").status == 200
    server.await_requests(4)
