"""The demo's cache in a real memcached, which may die."""

import socket
import subprocess

import pytest

from tests.support.real_servers import find
from tests.support.waiting import eventually


@pytest.fixture
def memcached(tmp_path):
    path = tmp_path / "m.sock"
    command = [find("memcached"), "-u", "root", "-s", str(path), "-m", "8"]

    def listens():
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(path)) == 0 or process.poll() is not None

    with subprocess.Popen(command) as process:
        eventually(listens)
        yield path, process
        process.kill()


def test_memcached_gives_back(connect, memcached):
    """A value is found under any key, also a long one with spaces."""
    cache = connect(str(memcached[0]))
    key = "http://example.org/ä b" + "x" * 500
    cache.set(key, b"1", 10)
    assert (cache.get(key), cache.get(key + "y")) == (b"1", None)


def test_memcached_too_large(connect, memcached):
    """A value that memcached refuses is not kept, and nothing is raised."""
    cache = connect(str(memcached[0]))
    cache.set("a", b"x" * 2_000_000, 10)
    assert cache.get("a") is None


def test_memcached_dies(connect, memcached):
    """Without memcached, values are missed and nothing is raised."""
    path, process = memcached
    cache = connect(str(path))
    cache.set("a", b"1", 10)
    process.kill()
    process.wait()
    cache.set("a", b"1", 10)
    assert cache.get("a") is None
