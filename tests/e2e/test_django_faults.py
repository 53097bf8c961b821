"""What an unmodified Django project does when something behind it fails: wrapped as bare.

Both servers are asked the same, one after the other, and must answer the same; the metrics of the
wrapped one say what happened.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support import real_servers
from tests.support.django_client import FATAL_PREFIX
from tests.support.django_site import DjangoSite
from tests.support.gunicorn_server import DEADLINE, Answer, GunicornServer, Serve
from tests.support.stand_in import gravatar

DIGEST = "0123456789abcdef" * 2
AVATAR = f"/avatar/{DIGEST}?d=monsterid&f=y"
PROXIED = f"/gravatarproxy/a{DIGEST[1:]}?s=80"
SECRET = re.compile(r'(csrftoken=|sessionid=|csrfmiddlewaretoken" value=")\w+|expires=[^;]+')


class Pair:
    """The project twice, bare and wrapped, each with data of its own and one worker.

    Args:
        serve: starts servers.
        folder: for both.
        environ: of both.
    """

    def __init__(self, serve: Serve, folder: Path, **environ: str) -> None:
        for name in ("bare", "wrapped"):
            (folder / name).mkdir(parents=True)
        self.bare = DjangoSite(serve, folder / "bare", **environ).bare(workers=1)
        self.wrapped = DjangoSite(serve, folder / "wrapped", **environ).wrapped(workers=1)

    def get(self, path: str) -> Answer:
        """Ask both; their answers are one."""
        bare, wrapped = (server.get(path) for server in (self.bare, self.wrapped))
        assert _as_seen(wrapped, self.wrapped) == _as_seen(bare, self.bare), path
        return wrapped

    def value(self, sample: str, **labels: str) -> float:
        """A metric of the wrapped one."""
        return self.wrapped.value(sample, **labels)

    def lookups(self) -> tuple[float, float]:
        """Hits and misses of the avatar cache."""
        names = ("hits", "misses")
        hits, misses = (self.value(f"ivatar_avatar_cache_{name}_total") for name in names)
        return hits, misses

    def calls(self, success: str) -> float:
        """Calls of Gravatar."""
        sample = "ivatar_external_avatar_requests_total"
        return self.value(sample, service="gravatar", success=success)

    def check(self) -> None:
        """Nothing of ours failed."""
        assert self.value("avatar_telemetry_internal_errors_total") == 0


def _as_seen(answer: Answer, server: GunicornServer) -> tuple[object, ...]:
    # The two are asked one after the other, perhaps in different seconds.
    times = dict.fromkeys({"Date", "Expires"} & answer.headers.keys(), "a time")
    headers = {**answer.headers, **times}
    text = repr((headers, answer.cookies, answer.body)).replace(str(server.path), "")
    return answer.status, SECRET.sub(r"\1", text)


@pytest.fixture
def pair(serve: Serve, tmp_path: Path, certificate: Path, port: int) -> Callable[..., Pair]:
    """Makes the two servers; Gravatar and memcached are not there, unless they are given."""

    def make(**environ: str) -> Pair:
        return Pair(serve, tmp_path, **{
            "SSL_CERT_FILE": str(certificate), "PORTRAITS_TIMEOUT": str(DEADLINE),
            "PORTRAITS_GRAVATAR": f"https://localhost:{port}", **environ,
        })  # fmt: skip

    return make


@contextmanager
def silent() -> Iterator[str]:
    """A service that takes connections and says nothing, not even in the handshake."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"https://localhost:{listener.getsockname()[1]}"


def test_pages_and_avatars(pair: Callable[..., Pair]) -> None:
    """Where nothing fails, wrapped and bare answer the same, from the first byte to the last."""
    servers = pair()
    for generator in ("monsterid", "robohash", "retro", "pagan", "identicon", "mmng", "404", "mm"):
        for _ in range(2):
            servers.get(f"/avatar/{DIGEST}.png?d={generator}&f=y&s=64")
    for path in ("/", "/accounts/login/", "/accounts/profile/", "/accounts/new/", "/stats/",
                 "/nothing", "/avatar/x", "/accounts/upload_photo/", "/tools/check"):  # fmt: skip
        servers.get(path)
    assert servers.lookups() == (6, 10)
    servers.check()


@pytest.mark.slow
def test_a_cache_that_raises(pair: Callable[..., Pair]) -> None:
    """Django makes a 500 of it; the cache said neither hit nor miss."""
    servers = pair(PORTRAITS_AVATAR_CACHE="portraits.caches.BrokenCache")
    assert servers.get(AVATAR).status == 500
    assert servers.value("ivatar_avatar_requests_total", status_code="500") == 1
    assert servers.lookups() == (0, 0)
    servers.check()


@pytest.mark.slow
def test_a_generator_that_raises(pair: Callable[..., Pair]) -> None:
    """Django makes a 500 of it; nothing was generated, and the next picture is."""
    servers = pair()
    fatal = AVATAR.replace(DIGEST, FATAL_PREFIX + DIGEST[4:])
    assert servers.get(fatal).status == 500
    assert servers.value("ivatar_avatars_generated_total") == 0
    assert servers.lookups() == (0, 1)
    assert servers.get(AVATAR).status == 200
    assert servers.value("ivatar_avatars_generated_total", source="generated") == 1
    servers.check()


@pytest.mark.slow
def test_memcached_dies(pair: Callable[..., Pair], certificate: Path) -> None:
    """What needs it becomes a 500 without an outside call; avatars are drawn as before."""
    with ExitStack() as dying, gravatar(certificate) as url:
        address = dying.enter_context(real_servers.memcached())
        servers = pair(PORTRAITS_MEMCACHED=address, PORTRAITS_GRAVATAR=url)
        assert servers.get(PROXIED).status == 200
        assert servers.calls("true") == 2
        dying.close()
        for _ in range(3):
            assert servers.get(PROXIED).status == 500
        assert servers.get(AVATAR).status == 200
        assert servers.calls("true") == 2 and servers.calls("false") == 0
    template = "/gravatarproxy/{digest}"
    assert servers.value("ivatar_requests_total", path=template, status_code="500") == 3
    servers.check()


@pytest.mark.slow
def test_gravatar_says_nothing(pair: Callable[..., Pair], memcached: str) -> None:
    """The application gives up after its own time-out; the call failed, and took that long."""
    with silent() as url:
        servers = pair(PORTRAITS_GRAVATAR=url, PORTRAITS_MEMCACHED=memcached, PORTRAITS_TIMEOUT="1")
        assert servers.get(PROXIED).status == 500
    assert (servers.calls("true"), servers.calls("false")) == (0, 1)
    assert servers.value("ivatar_external_avatar_request_seconds_sum") >= 1
    servers.check()


def test_gravatar_is_gone(pair: Callable[..., Pair], memcached: str) -> None:
    """A refused connection is a failed call."""
    servers = pair(PORTRAITS_MEMCACHED=memcached)
    assert servers.get(PROXIED).status == 500
    assert (servers.calls("true"), servers.calls("false")) == (0, 1)
    servers.check()


@pytest.mark.slow
def test_the_certificate_is_not_trusted(
    pair: Callable[..., Pair], memcached: str, certificate: Path
) -> None:
    """A probe makes no connection safer or less safe: what Python refuses is refused."""
    with gravatar(certificate) as url:
        servers = pair(
            PORTRAITS_GRAVATAR=url, PORTRAITS_MEMCACHED=memcached, SSL_CERT_FILE="/dev/null"
        )
        assert servers.get(PROXIED).status == 500
    assert (servers.calls("true"), servers.calls("false")) == (0, 1)
    servers.check()


@pytest.mark.slow
def test_the_database_dies(pair: Callable[..., Pair]) -> None:
    """Avatars from the cache go on; what needs the database becomes a 500."""
    with ExitStack() as dying:
        database = dying.enter_context(real_servers.postgresql())
        servers = pair(PORTRAITS_DATABASE=database.url)
        assert servers.get(AVATAR).status == 200
        dying.close()
        assert servers.get(AVATAR).status == 200
        assert servers.get(AVATAR + "&s=64").status == 500
        assert servers.get("/stats/").status == 500
    assert servers.lookups() == (1, 2)
    servers.check()


def test_with_the_generic_profile(serve: Serve, tmp_path: Path) -> None:
    """Nothing is known of the project, and its pages go by its own URL patterns."""
    server = DjangoSite(serve, tmp_path).wrapped(
        "avatar_telemetry.profiles.generic:PROFILE", workers=1
    )
    expected = {
        f"/x/avatar/{DIGEST}.png?d=404&f=y": "/avatar/{digest}",
        "/accounts/profile/bob@example.com": "/accounts/profile/{username}",
        "/accounts/reset/MQ/secret/": "/accounts/reset/{uidb64}/{token}/",
        "/stats/": "/stats/",
        "/": "/",
        "/bob@example.com": "other",
    }
    for path, template in expected.items():
        before = server.requests(path=template)
        server.get(path)
        server.await_requests(before + 1, path=template)
    assert "bob" not in server.get("/metrics").text
