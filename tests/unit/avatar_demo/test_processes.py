"""Workers share a database and a secret, and nothing that a fork would break."""

import ast
import os
import subprocess
import sys
from pathlib import Path

from webob import Request

import avatar_demo
from tests.support.forked import in_child

WORKERS = """
import os, sys
from webob import Request
from avatar_demo import application
for _ in range(4):
    if os.fork() == 0:
        os.read(0, 1)
        page = Request.blank("/stats/").get_response(application)
        os.write(1, b"%d\\n" % page.status_int)
        cookie = os.read(int(sys.argv[1]), 512).decode().strip()
        page = Request.blank("/accounts/profile/", headers={"Cookie": "sessionid=" + cookie})
        os.write(1, b"%d\\n" % page.get_response(application).status_int)
        os._exit(0)
for _ in range(4):
    os.wait()
"""


def test_race(tmp_path, new_browser, make_application):
    """Workers that start together on an empty folder all work, and know one another's sessions."""
    environ = {"DEMO_DATA": str(tmp_path / "data")}
    cookies, sending = os.pipe()
    with os.fdopen(cookies), os.fdopen(sending, "wb") as sending, subprocess.Popen(
        [sys.executable, "-c", WORKERS, str(cookies)], pass_fds=[cookies],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **environ},
    ) as workers:  # fmt: skip
        workers.stdin.write(b"g" * 4)
        workers.stdin.flush()
        assert [workers.stdout.readline() for _ in range(4)] == [b"200\n"] * 4
        browser = new_browser(make_application(environ))
        browser.register()
        sending.write(browser.cookies["sessionid"].encode().ljust(512) * 4)
        sending.flush()
        answers, _ = workers.communicate()
    assert answers.split() == [b"200"] * 4


def test_fork(application):
    """A process that was forked after a request opens everything anew."""
    Request.blank("/stats/").get_response(application)
    site = application._site

    def work():
        status = Request.blank("/stats/").get_response(application).status_int
        return [status, application._site[1].database is not site[1].database]

    assert in_child(work) == [200, True]
    assert application._site is site


def test_imports():
    """Only the profile of the demo knows the telemetry: the demo is an unmodified application."""
    folder = Path(avatar_demo.__file__).parent
    for path in set(folder.glob("*.py")) - {folder / "profile.py"}:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                assert not name.startswith("avatar_telemetry")
