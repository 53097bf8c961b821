"""Synthetic hosts: the series of a real demo server under traffic, pushed as each of many hosts.

    with demo(folder, sink.url) as server:
        visit(server)
        families = server.families()
    hosts = [Host(number, families, endpoint, folder) for number in range(1, 101)]
    hosts[0].push()

A push is that of a real exporter: the SDK's exporter behind our own bridge, from a process of its
own for the fleet alone.
"""

from __future__ import annotations

import http.cookiejar
import io
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from hashlib import md5
from pathlib import Path
from random import Random
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

from PIL import Image

from avatar_telemetry.config.settings import DEFAULT_SIZES, Settings
from avatar_telemetry.exporter.continuity import Continuity
from avatar_telemetry.exporter.pusher import Pusher
from avatar_telemetry.guard import Guard
from avatar_telemetry.scrape.collector import Collector, Server
from avatar_telemetry.store.family import Family

REPOSITORY = Path(__file__).parent.parent
WORKERS = 4
START_SECONDS = 60
STOP_SECONDS = 40
GENERATORS = ("identicon", "retro", "monsterid", "wavatar", "pagan", "robohash", "mmng")
PAGES = (
    "/", "/stats/", "/description/", "/tools/check/", "/tools/check_domain/", "/static/style.css",
    "/accounts/login/", "/accounts/new/", "/nothing/here", "/accounts/nix", "/avatar/deadbeef",
    "/avatar/", "/openid/login/", "/i18n/", "/admin/",
)  # fmt: skip
BOUNDARY = "a-boundary-of-the-fleet"
TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
LISTENING = re.compile(rb"Listening at: http://127\.0\.0\.1:(\d+)")
PASSWORD = "correct horse battery"


class Page(NamedTuple):
    """What came at last: under which path, and its text."""

    path: str
    text: str


class Demo:
    """A running demo server.

    Args:
        url: its base address.
        master: pid of its master.
        folder: its runtime folder.
    """

    def __init__(self, url: str, master: int, folder: Path) -> None:
        self.url = url
        self._master = master
        self._folder = folder
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(cookies)

    def ask(self, path: str, form: bytes | None = None, content_type: str = "") -> Page:
        """One request and those that it is redirected to; what came, whatever the status."""
        headers = {"Content-Type": content_type} if content_type else {}
        request = urllib.request.Request(self.url + path, form, headers)
        try:
            with self._opener.open(request, timeout=30) as answer:
                return Page(urlsplit(answer.url).path, answer.read().decode("latin-1"))
        except urllib.error.HTTPError as error:
            with error:
                return Page(path, error.read().decode("latin-1"))

    def families(self) -> list[Family]:
        """The families that its exporter would push."""
        settings = Settings.from_env({"OTEL_EXPORT_ENABLED": "true"})
        return Collector(self._folder, settings, Server(self._master)).collect()


@contextmanager
def demo(folder: Path, endpoint: str, compression: str = "none") -> Iterator[Demo]:
    """The demo server with all its workers, which exports all spans.

    Args:
        folder: for what it keeps; its own.
        endpoint: of the spans; the outside services are looked for there, too, in vain.
        compression: of the spans.

    Raises:
        RuntimeError: it did not start.
    """
    runtime = folder / "metrics"
    environ = os.environ | {
        "OTEL_EXPORT_ENABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_COMPRESSION": compression, "OTEL_METRICS_EXPORTER": "none",
        "DEMO_GRAVATAR_URL": endpoint, "DEMO_BLUESKY_URL": endpoint,
        "PROMETHEUS_MULTIPROC_DIR": str(runtime), "DEMO_DATA": str(folder / "data"),
        "WEB_CONCURRENCY": str(WORKERS), "GUNICORN_BIND": "127.0.0.1:0",
    }  # fmt: skip
    log = folder / "gunicorn.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py"],
            cwd=REPOSITORY, env=environ, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        yield Demo(f"http://127.0.0.1:{_port(process, log)}", process.pid, runtime)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_SECONDS)


def visit(server: Demo) -> None:
    """Everything that people ask for, once: so many series a host of this server can have."""
    for size in DEFAULT_SIZES.split(","):
        for number, generator in enumerate(GENERATORS):
            digest = _digest(f"{generator}-{number}")
            for _ in range(2):  # the second time from the cache, if this worker's
                server.ask(f"/avatar/{digest}?s={size}&d={generator}")
        server.ask(f"/avatar/{_digest('nobody')}?s={size}&d=404")
        server.ask(f"/avatar/{_digest('nobody')}?s={size}&d=mm")
    for page in (*PAGES, f"/gravatarproxy/{_digest('nobody')}?s=80"):
        server.ask(page)
    account(server)


def account(server: Demo) -> None:
    """Somebody registers, uploads photos and looks at them, fails to log in, and logs out."""
    name = "somebody@example.com"
    _submit(server, "/accounts/new/", username=name, password1=PASSWORD, password2=PASSWORD)
    for kind in ("PNG", "JPEG", "GIF", "WEBP"):
        crop = _upload(server, _photo(kind), f"image/{kind.lower()}").path
        _submit(server, crop, x="0", y="0", w="60", h="60")
        for size in DEFAULT_SIZES.split(","):
            server.ask(f"/avatar/{_digest(name)}?s={size}")
    _upload(server, b"no picture", "text/plain")
    _submit(server, "/accounts/logout/")
    _submit(server, "/accounts/login/", username=name, password="wrong")
    _submit(server, "/accounts/login/", username=name, password=PASSWORD)


class Host:
    """A host of the fleet: an exporter that pushes what the demo has counted, and more each time.

    Args:
        number: of the host, which its name has.
        families: that it begins with.
        endpoint: URL that metrics are posted to.
        folder: for what exporters keep.
        compression: of its pushes.
        timeout: seconds until a push is given up.
    """

    def __init__(
        self,
        number: int,
        families: Sequence[Family],
        endpoint: str,
        folder: Path,
        compression: str = "gzip",
        timeout: float = 60.0,
    ) -> None:
        settings = Settings.from_env(
            {
                "OTEL_EXPORT_ENABLED": "true", "OTEL_SERVICE_NAME": "ivatar-production",
                "OTEL_ENVIRONMENT": "production", "HOSTNAME": f"host-{number:04}",
                "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": endpoint,
                "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION": compression,
                "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT": str(timeout),
                "OTEL_METRIC_EXPORT_TIMEOUT": str(round(timeout * 1_000)),
            }
        )  # fmt: skip
        own = folder / settings.hostname
        own.mkdir(parents=True, exist_ok=True)
        self._name = settings.hostname
        self._families = families
        self.told: Sequence[Family] = ()
        self._pushes = 0
        continuity = Continuity(own, time.time_ns(), delta=False)
        self._pusher = Pusher(settings, self, continuity, lambda result: None, Guard())

    def collect(self) -> list[Family]:
        """What it has counted by now; :attr:`told` keeps it."""
        self._pushes += 1
        self.told = [grown(each, self._pushes * self._pace(each)) for each in self._families]
        return self.told

    def push(self) -> bool:
        """One push; whether all of it arrived."""
        return self._pusher.push()

    def _pace(self, family: Family) -> int:
        """Numbers as busy hosts have them, or a compressor would find nearly nothing to keep."""
        return Random(f"{self._name} {family.name}").randrange(1_000, 100_000)


def grown(family: Family, times: int) -> Family:
    """What has counted so many times as much: sums and buckets, not gauges."""
    if family.type not in ("counter", "histogram"):
        return family
    return replace(family, values=[value * times for value in family.values])


def _submit(server: Demo, path: str, **fields: str) -> None:
    fields["csrfmiddlewaretoken"] = _token(server, "/accounts/login/")
    form = urlencode(fields).encode()
    server.ask(path, form, "application/x-www-form-urlencoded")


def _upload(server: Demo, photo: bytes, content_type: str) -> Page:
    token = _token(server, "/accounts/upload_photo/")
    fields = {"csrfmiddlewaretoken": token, "not_porn": "on", "can_distribute": "on"}
    parts = [f'name="{name}"\r\n\r\n{value}'.encode() for name, value in fields.items()]
    file = f'name="photo"; filename="me.bin"\r\nContent-Type: {content_type}\r\n\r\n'
    parts.append(file.encode() + photo)
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; ".encode()
    body = b"".join(head + part + b"\r\n" for part in parts) + f"--{BOUNDARY}--\r\n".encode()
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    return server.ask("/accounts/upload_photo/", body, kind)


def _token(server: Demo, path: str) -> str:
    found = TOKEN.search(server.ask(path).text)
    return found[1] if found else ""


def _photo(kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (120, 120), (90, 140, 60)).save(file, kind)
    return file.getvalue()


def _digest(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + START_SECONDS
    while not (found := LISTENING.search(log.read_bytes())):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the demo did not start: {log.read_text(errors='replace')[-500:]}")
        time.sleep(0.05)
    return int(found[1])
