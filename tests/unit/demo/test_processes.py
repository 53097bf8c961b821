"""Workers share a database and a secret, and nothing that a fork would break."""

import ast
import os
import subprocess
import sys
from pathlib import Path

from webob import Request

import avatar_telemetry.demo

WORKER = """
import os, sys
from webob import Request
from avatar_telemetry.demo import application
sys.stdin.readline()
print(Request.blank("/stats/").get_response(application).status_int, flush=True)
cookie = sys.stdin.readline().strip()
page = Request.blank("/accounts/profile/", headers={"Cookie": "sessionid=" + cookie})
print(page.get_response(application).status_int, flush=True)
"""


def test_race(tmp_path, new_browser, make_application):
    """Workers that start together on an empty folder all work, and know one another's sessions."""
    environ = {"DEMO_DATA": str(tmp_path / "data")}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environ},
        )
        for _ in range(4)
    ]
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    assert [worker.stdout.readline() for worker in workers] == ["200\n"] * 4
    browser = new_browser(make_application(environ))
    browser.register()
    answers = [worker.communicate(browser.cookies["sessionid"] + "\n")[0] for worker in workers]
    assert answers == ["200\n"] * 4


def test_fork(application):
    """A process that was forked after a request opens everything anew."""
    Request.blank("/stats/").get_response(application)
    site = application._site
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        status = Request.blank("/stats/").get_response(application).status_int
        anew = application._site[1].database is not site[1].database
        os.write(write, f"{status} {anew}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read) as report:
        assert report.read() == "200 True"
    assert application._site is site


def test_imports():
    """The demo knows nothing of the rest of the package."""
    folder = Path(avatar_telemetry.demo.__file__).parent
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                ours = name.startswith("avatar_telemetry")
                assert not ours or name.startswith("avatar_telemetry.demo")
