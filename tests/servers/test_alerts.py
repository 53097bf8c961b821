"""Every alert fires in a real Prometheus when its fault is there, and resolves when it goes.

The files of ``deploy/prometheus`` run as they are, but for the targets and for time: windows of
minutes become seconds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.demo_client import PASSWORD, DemoClient
from tests.support.demo_site import PATIENCE
from tests.support.deployed_rules import DEPLOYED, TOKEN, deployed
from tests.support.gunicorn_server import APPS, GunicornServer, Serve, eventually
from tests.support.local_server import Handler, make_server, serving
from tests.support.paths import REPOSITORY
from tests.support.real_prometheus import Prometheus, configured
from tests.support.stand_in import gravatar
from tests.support.waiting import DEADLINE

PRODUCTION, DEVELOPMENT = "ivatar-production", "ivatar-development"
AT_REST = {"MetricsScrapeFails", "MetricsAreMissing"}
OF_THE_STAND_IN = {
    "InstanceIsSilent", "RequestsQueue", "TelemetryFolderIsFull", "TelemetryHasNoExporter",
    "TelemetryLogsLost", "TelemetryPushesFail", "TelemetrySeriesRefused", "TelemetrySpansLost",
}  # fmt: skip


class StandIn:
    """A page of metrics whose conditions no server of the tests can be brought into."""

    def __init__(self) -> None:
        self.faulty = False
        self._exported = count(1000, 10)
        self._dropped = 1000

    def page(self) -> str:
        self._dropped += 5 if self.faulty else 0
        lines = [
            f'avatar_telemetry_spans_total{{result="exported"}} {next(self._exported)}',
            f'avatar_telemetry_spans_total{{result="dropped"}} {self._dropped}',
            f'avatar_telemetry_log_records_total{{result="exported"}} {1000 - self.faulty}',
            f'avatar_telemetry_log_records_total{{result="failed"}} {self._dropped}',
            f'avatar_telemetry_metric_pushes_total{{result="exported"}} {1000 - self.faulty}',
            f'avatar_telemetry_metric_pushes_total{{result="failed"}} {self._dropped}',
            f"avatar_telemetry_exporter_up {int(not self.faulty)}",
            f"avatar_telemetry_folder_free_bytes {0 if self.faulty else 1 << 30}",
            f"gunicorn_backlog {50 * self.faulty}",
        ]
        if not self.faulty:
            lines.append("ivatar_requests_in_progress 0")
        return "".join(f"{line}\n" for line in lines)

    @contextmanager
    def serve(self, port: int) -> Iterator[None]:
        """Answers scrapes."""
        owner = self

        class PageHandler(Handler):
            def do_GET(self) -> None:
                kind = "text/plain; version=0.0.4"
                self.respond(200, owner.page().encode(), Content_Type=kind)

        with serving(make_server(PageHandler, port)):
            yield


class Visitor(DemoClient):
    """A user of the demo in good times and in bad ones; each call is some requests."""

    def well(self) -> None:
        for _ in range(12):
            self._get(f"/avatar/{'0' * 32}?d=identicon", "/avatar/{digest}", 200)
        self.upload()
        self._post("/accounts/login/", "/accounts/login/", 302, self._account)
        self._get(f"/gravatarproxy/{'a' * 32}?s=80", "/gravatarproxy/{digest}", 200)
        self._get("/stats/", "/stats/", 200)

    def badly(self) -> None:
        self._proxied += 1
        digest = f"{self._random.randrange(16**32):032x}"
        self._get(f"/avatar/{digest}?d=retro", "/avatar/{digest}", 200)
        self._get("/stats/", "/stats/", 500)
        self.bad_upload()
        self.log_in_badly()
        self._get(f"/gravatarproxy/c{digest[1:]}?s=80", "/gravatarproxy/{digest}", 302)
        self._get("/broken-rule", "/broken-rule", 404)

    @property
    def _account(self) -> dict[str, str]:
        return {"username": self._email, "password": PASSWORD}


class Crowd:
    """Visitors that come again and again, in the mood that is set, until they are sent away."""

    def __init__(self, visitors: list[Visitor], more: Callable[[bool], None]) -> None:
        self._faulty = False
        self._changes = 0
        self._more = more
        self._leave = threading.Event()
        self._faults: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, args=(each,)) for each in visitors]

    def __enter__(self) -> Crowd:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._leave.set()
        for thread in self._threads:
            thread.join(DEADLINE)
        if self._faults and error[0] is None:
            raise AssertionError("a visitor got something else") from self._faults[0]

    @contextmanager
    def becoming(self, faulty: bool) -> Iterator[None]:
        """Change the mood; the faults come or go within the block."""
        self._changes += 1
        yield
        self._faulty = faulty
        self._changes += 1

    def check(self) -> None:
        """Fail at once where a visitor did."""
        assert not self._faults, self._faults

    def _run(self, visitor: Visitor) -> None:
        try:
            visitor.register()
            while not self._leave.wait(0.2):
                changes, faulty = self._changes, self._faulty
                try:
                    visitor.badly() if faulty else visitor.well()
                except AssertionError:
                    if changes == self._changes and changes % 2 == 0:
                        raise  # the faults neither came nor went meanwhile
                self._more(faulty)
        except Exception as error:  # noqa: BLE001 - told by check()
            self._faults.append(error)


def firing(prometheus: Prometheus) -> set[tuple[str, str]]:
    """Name and job of every alert that fires now."""
    return {
        (each["labels"]["alertname"], each["labels"].get("job", ""))
        for each in prometheus.ask("alerts")["alerts"]
        if each["state"] == "firing"
    }


def faults_of_texts(prometheus: Prometheus) -> list[str]:
    """Annotations that could not be filled in."""
    return [
        text
        for each in prometheus.ask("alerts")["alerts"]
        for text in each["annotations"].values()
        if not text or "<error" in text or "<no value>" in text
    ]


def server_with(serve: Serve, application: str, port: int, **options: object) -> GunicornServer:
    """A server whose page nobody reads without the token."""
    env = {"AVATAR_TELEMETRY_METRICS_ALLOW": "", "AVATAR_TELEMETRY_METRICS_TOKEN": TOKEN}
    env |= options.pop("env")  # type: ignore[operator]
    return serve(
        application, bind=f"127.0.0.1:{port}", pythonpath=f"{REPOSITORY},{APPS}", env=env, **options
    )


@pytest.mark.slow
def test_every_alert_fires_and_resolves(
    serve: Serve, tmp_path: Path, ports: Callable[[int], list[int]]
) -> None:
    """Servers that are down, faults of every kind, and recovery."""
    names = {
        rule["alert"]
        for path in (DEPLOYED / "rules").glob("*.yml")
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    demo_port, small_port, other_port = ports(3)
    targets = {
        '"ivatar-prod:8000"': f'"127.0.0.1:{demo_port}"',
        '"ivatar-dev:9467"': f'"127.0.0.1:{small_port}", "127.0.0.1:{other_port}"',
    }
    configuration = deployed(tmp_path / "prometheus", targets)
    stand_in = StandIn()
    with configured(configuration, tmp_path / "data") as prometheus, gravatar() as outside:
        eventually(
            lambda: {name for name, _ in firing(prometheus)} >= AT_REST,
            what="the alerts on servers that are down",
        )  # fmt: skip
        assert not faults_of_texts(prometheus)
        server = server_with(
            serve, "faulty_demo:application", demo_port, worker_class="gthread", threads=8,
            env={
                "AVATAR_TELEMETRY_PROFILE": "faulty_demo:PROFILE", "DEMO_GRAVATAR_URL": outside,
                "DEMO_DATA": str(tmp_path / "demo"), "DEMO_MAX_PHOTOS": "100000",
                "DEMO_OUTSIDE_TIMEOUT": PATIENCE,
            },
        )  # fmt: skip
        small = server_with(
            serve, "statuses:application", small_port, name="small", workers=1,
            env={"AVATAR_TELEMETRY_MAX_SERIES": "100"},
        )  # fmt: skip
        statuses = count(400)

        def make_series(faulty: bool) -> None:
            if faulty:
                small.get(f"/{next(statuses) % 200 + 200}")

        visitors = [Visitor(server.request, f"visitor{number}", 1) for number in range(4)]
        with stand_in.serve(other_port), Crowd(visitors, make_series) as crowd:
            settle(prometheus, crowd, AT_REST)
            with crowd.becoming(faulty=True):
                (server.path / "faults").touch()
            stand_in.faulty = True
            fire(prometheus, crowd, names - AT_REST)
            with crowd.becoming(faulty=False):
                (server.path / "faults").unlink()
            stand_in.faulty = False
            settle(prometheus, crowd, names)


def fire(prometheus: Prometheus, crowd: Crowd, names: set[str]) -> None:
    """Wait until each of these has fired, for the service that has the fault."""
    left = {(name, DEVELOPMENT if name in OF_THE_STAND_IN else PRODUCTION) for name in names}
    for _ in patiently(left, "did not fire"):
        crowd.check()
        left -= firing(prometheus)
        assert not faults_of_texts(prometheus)


def settle(prometheus: Prometheus, crowd: Crowd, names: set[str]) -> None:
    """Wait until each of these was seen not to fire; a busy machine may wake one again."""
    left = set(names)
    for _ in patiently(left, "did not resolve"):
        crowd.check()
        left &= {name for name, _ in firing(prometheus)}


def patiently(left: set[Any], fault: str) -> Iterator[None]:
    """Come again until nothing is left."""
    end = time.monotonic() + DEADLINE
    while left:
        yield
        assert time.monotonic() < end, f"{sorted(left)} {fault}"
        time.sleep(0.2)
