"""The check for what a test leaves open."""

from __future__ import annotations

import os
import re

import pytest

from tests.support.paths import REPOSITORY
from tests.support.waiting import DEADLINE

pytest_plugins = ["pytester"]

CONFTEST = """
import tracemalloc
from tests.support.leaks import LeakCheck

def pytest_configure(config):
    tracemalloc.start(5)
    config.pluginmanager.register(LeakCheck(patience={}))
"""
START = """
import fcntl, gc, json, os, shutil, socket, subprocess, tempfile, threading
import pytest

KEPT = []

"""
LEAKING = """
def test_socket():
    KEPT.append(socket.socket())

def test_socket_in_a_cycle():
    cycle = [socket.socket()]
    cycle.append(cycle)

def test_file(tmp_path):
    KEPT.append(open(tmp_path / "kept", "w"))

def test_descriptor(tmp_path):
    os.open(tmp_path / "kept", os.O_CREAT)

def test_thread():
    threading.Thread(target=threading.Event().wait, name="kept", daemon=True).start()

def test_child(request):
    child = subprocess.Popen(["sleep", "600"])
    request.config.add_cleanup(child.wait)
    request.config.add_cleanup(child.kill)

def test_zombie(request):
    if not (child := os.fork()):
        os._exit(0)
    request.config.add_cleanup(lambda: os.waitpid(child, 0))
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)

def test_folder(request):
    done = subprocess.Popen(["true"])
    done.wait()
    folder = tempfile.mkdtemp(prefix="avatar-telemetry-", dir="/dev/shm")
    request.config.add_cleanup(lambda: shutil.rmtree(folder))
    record = open(folder + "/folder.lock", "w")
    fcntl.flock(record, fcntl.LOCK_SH)  # a server that starts removes an unlocked folder
    json.dump({"masters": [[done.pid, 0]]}, record)
    record.flush()
    KEPT.append(record)

class Broken:
    def __del__(self):
        raise ValueError("of a finalizer")

def test_finalizer():
    Broken()

def test_error_of_a_thread():
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()

def test_clean():
    pass
"""
REPORTED = {
    "test_socket": r"descriptor \d+ \(socket:\[\d+\]\), held by <socket\.socket (?:.*\n)+ +KEPT",
    "test_socket_in_a_cycle": r"ResourceWarning\(.unclosed <socket(?:.*\n)+ +cycle = \[socket",
    "test_file": r"descriptor \d+ \(.*/kept\), held by <_io\.FileIO",
    "test_descriptor": r"descriptor \d+ \(.*/kept\)",
    "test_thread": r"thread <Thread\(kept, started daemon",
    "test_child": r"child process \d+ \(sleep 600\)",
    "test_zombie": r"child process \d+ \(ended, not waited for\)",
    "test_folder": r"runtime folder /dev/shm/avatar-telemetry-",
    "test_finalizer": r"ValueError: of a finalizer",
    "test_error_of_a_thread": r"ZeroDivisionError",
}
CLEAN = """
@pytest.fixture(scope="session")
def server():
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=lambda: server.accept()[0].close())
        thread.start()
        with subprocess.Popen(["sleep", "600"]) as child:
            yield server.getsockname()
            child.kill()
        socket.create_connection(server.getsockname()).close()
        thread.join()

@pytest.fixture
def file(tmp_path):
    with open(tmp_path / "kept", "w") as file:
        yield file

def test_both(server, file):
    pass

def test_session(server):
    pass

def test_everything_is_closed(tmp_path):
    with socket.socket(), open(tmp_path / "file", "w"):
        thread = threading.Thread(target=subprocess.run, args=(["true"],))
        thread.start()

def test_failed():
    KEPT.append(socket.socket())
    pytest.fail("only this")
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("PYTHONPATH", os.fspath(REPOSITORY))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # they take long to import
    pytester.makeini("[pytest]\nfilterwarnings = error")
    return pytester


def test_each_kind_of_leak_fails_the_test_that_leaves_it(run: pytest.Pytester) -> None:
    """The error is that test's own, and names what is left and where it was opened."""
    run.makeconftest(CONFTEST.format(0))
    run.makepyfile(START + LEAKING)
    result = run.runpytest_subprocess("--tb=native")  # the others parse pytest itself
    output = result.stdout.str()
    result.assert_outcomes(passed=len(REPORTED) + 1 - 2, errors=len(REPORTED) - 2, failed=2)
    for name, expected in REPORTED.items():
        (section,) = re.findall(rf"^_+ (?:ERROR at teardown of )?{name} _+$(.*?)^[_=]{{5}}", output,
                                re.MULTILINE | re.DOTALL)  # fmt: skip
        assert re.search(expected, section), section


def test_what_is_closed_in_time_is_no_leak(run: pytest.Pytester) -> None:
    """Neither a test that closes all, nor a wider fixture, nor a test that failed is an error."""
    run.makeconftest(CONFTEST.format(DEADLINE))
    run.makepyfile(START + CLEAN)
    result = run.runpytest_subprocess("--tb=native")  # the others parse pytest itself
    result.assert_outcomes(passed=3, failed=1)
