"""The deployed nginx configuration under Debian's nginx, in front of a real gunicorn."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.support.gunicorn_server import Answer, GunicornServer, eventually
from tests.support.paths import DEPLOY
from tests.support.real_servers import find, own_port
from tests.support.waiting import DEADLINE

DEPLOYED = DEPLOY / "nginx" / "ivatar.conf"
TOKEN = "token-of-the-tests"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
MAIN = """
{user}
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {site};
}}
"""


class Proxy:
    """nginx in front of a server.

    Args:
        port: where it listens.
        server: behind it.
        log: its access log.
    """

    def __init__(self, port: int, server: GunicornServer, log: Path) -> None:
        self.server = server
        self.log = log
        self._port = port

    def get(self, path: str, **headers: str) -> Answer:
        return self.send("GET", path, None, **headers)

    def send(self, method: str, path: str, body: bytes | None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=DEADLINE)
        try:
            connection.request(method, path, body, {"Host": "avatars.example.org", **headers})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def seen(self, path: str, **headers: str) -> dict[str, str]:
        """What the server behind it was told."""
        found: dict[str, str] = json.loads(self.get(path, **headers).body)
        return found

    def answers(self) -> bool:
        try:
            return self.get("/").status == 200
        except OSError:
            return False


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """The deployed file, with the tests' own socket, port and log in it."""
    folder = tmp_path_factory.mktemp("nginx")
    server = GunicornServer(
        folder / "server", "headers:application", unix=True,
        env={
            "AVATAR_TELEMETRY_METRICS_TOKEN": TOKEN,
            "AVATAR_TELEMETRY_SERVER_TIMING": "true",
            "OTEL_EXPORT_ENABLED": "true",
            "OTEL_TRACES_EXPORTER": "none",
        },
    )  # fmt: skip
    with (
        closing(server), own_port() as port,
        nginx_before(server.start(), folder, port) as started,
    ):  # fmt: skip
        yield started


@contextmanager
def nginx_before(server: GunicornServer, folder: Path, port: int) -> Iterator[Proxy]:
    """The deployed nginx in front of a server."""
    site, log = folder / "site.conf", folder / "access.log"
    text = DEPLOYED.read_text()
    for old, new in {
        "unix:/run/ivatar/ivatar.sock": server._address,
        "listen 80;": f"listen 127.0.0.1:{port};",
        "listen [::]:80;": "",
        "/var/log/nginx/ivatar.log": str(log),
    }.items():
        assert old in text
        text = text.replace(old, new)
    site.write_text(text)
    user = "user root;" if os.geteuid() == 0 else ""
    main = folder / "nginx.conf"
    main.write_text(MAIN.format(folder=folder, site=site, user=user))
    command = [find("nginx"), "-c", str(main), "-e", str(folder / "error.log")]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    assert "[warn]" not in checked.stderr
    with subprocess.Popen(command, cwd=folder) as process:
        try:
            proxy = Proxy(port, server, log)
            eventually(proxy.answers, what="nginx")
            yield proxy
        finally:
            process.terminate()
            process.wait(DEADLINE)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/metrics", id="as it is"),
        pytest.param("/metrics?x=1", id="query"),
        pytest.param("//metrics", id="slashes"),
        pytest.param("/%6detrics", id="encoded"),
        pytest.param("/a/../metrics", id="dots"),
        pytest.param("/%2fmetrics", id="encoded slash"),
    ],
)
def test_no_spelling_of_the_path_shows_the_metrics(proxy: Proxy, path: str) -> None:
    """Not even the token opens them from outside; gunicorn's own socket does."""
    answer = proxy.get(path, Authorization=f"Bearer {TOKEN}")
    assert (answer.status, b"ivatar_requests_total" in answer.body) == (404, False)
    assert proxy.server.get("/metrics").status == 200


def test_what_a_stranger_sends_is_cleared(proxy: Proxy) -> None:
    """Trace context, baggage and Forwarded do not arrive, nor do they appear in the log."""
    seen = proxy.seen(
        "/", traceparent=TRACE, tracestate="vendor=1", baggage="user=x", Forwarded="for=192.0.2.1"
    )
    assert "HTTP_X_FORWARDED_FOR" in seen
    for header in ("TRACEPARENT", "TRACESTATE", "BAGGAGE", "FORWARDED"):
        assert f"HTTP_{header}" not in seen
    assert TRACE not in proxy.log.read_text()


def test_the_log_has_the_trace_of_the_server(proxy: Proxy) -> None:
    """Its id is that of the span; the client does not get the header."""
    known = proxy.seen("/")["avatar_telemetry.trace_id"]
    answer = proxy.get("/")
    assert answer.headers.get("Server-Timing") is None
    eventually(lambda: f"trace={known}\n" in proxy.log.read_text(), what="the log")


def test_the_server_hears_who_asked(proxy: Proxy) -> None:
    """Host, scheme and the client's address arrive; a client's own claim stays recognisable."""
    seen = proxy.seen("/", **{"X-Forwarded-For": "203.0.113.9"})
    assert seen["HTTP_HOST"] == "avatars.example.org"
    assert seen["HTTP_X_FORWARDED_PROTO"] == "http"
    assert seen["HTTP_X_FORWARDED_FOR"] == "203.0.113.9, 127.0.0.1"


def test_paths_arrive_as_they_came(proxy: Proxy) -> None:
    """Two slashes before "avatar" are an address of ivatar; nginx leaves them."""
    digest = "0" * 32
    assert proxy.seen(f"//avatar/{digest}?s=80")["RAW_URI"] == f"//avatar/{digest}?s=80"


def test_a_photo_gets_through_and_more_does_not(proxy: Proxy) -> None:
    """Ten MiB are taken; what is far above is refused before it reaches a worker."""
    assert proxy.send("POST", "/", bytes(10 * 1024 * 1024)).status == 200
    # Its head alone: a client that sends on is cut off when it lets nginx wait.
    assert proxy.send("POST", "/", None, **{"Content-Length": str(12 << 20)}).status == 413
    assert proxy.send("POST", "/", b"").status == 200
    proxy.server.await_requests(2, method="POST")
