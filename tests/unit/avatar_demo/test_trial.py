"""The statistics, and the buttons for browsers on the same machine."""

import os
import runpy
import signal
from types import SimpleNamespace

import pytest
from gunicorn.config import Config
from webob import Request

from avatar_demo import trial
from avatar_demo.settings import Settings
from avatar_demo.trial import PAGE, KillingBody
from avatar_demo.visit import Visit
from tests.support.forked import in_child
from tests.support.paths import REPOSITORY

LOCAL = {
    "SERVER_SOFTWARE": "gunicorn/25.1", "REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost:8000",
}  # fmt: skip
"""The request of a browser on this machine to the demo under gunicorn."""
OWN, FOREIGN = "http://localhost:8000", "https://www.example.org"


@pytest.fixture
def environ(environ):
    """The variables of a demo in development."""
    return {**environ, "DEMO_DEVELOPMENT": "1"}


@pytest.fixture
def started(monkeypatch):
    """The actions that a button has started."""
    actions = []

    def start(visit, name):
        actions.append(name)
        return visit.redirect(PAGE)

    for name in trial.ACTIONS:
        monkeypatch.setitem(trial.ACTIONS, name, lambda visit, name=name: start(visit, name))
    return actions


def test_the_page_has_the_counts(member, photo):
    """The page has the numbers of the JSON."""
    member.upload(photo())
    page = member.get(PAGE)
    assert page.content_type == "text/html"
    for name, label in (("users", "Users"), ("mails", "E-mail addresses"), ("avatars", "Photos")):
        assert member.get("/stats/").json[name] == 1
        assert f'<th scope="row">{label}</th><td>1</td>' in page.text


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:80"])
def test_development_has_the_buttons(browser, started, host):
    """A browser on this machine gets both buttons, and each does what its label promises."""
    environ = {**LOCAL, "HTTP_HOST": host}
    page = browser.get(PAGE, environ=environ).text
    assert page.count('<button name="action"') == 2
    assert 'href="/metrics"' in page and 'href="/static/dashboard.svg"' in page
    for action in ("traffic", "kill"):
        assert browser.post(PAGE, {"action": action}, environ=environ).status_int == 302
        sent = {**environ, "HTTP_ORIGIN": f"http://{host}"}
        assert browser.post(PAGE, {"action": action}, environ=sent).status_int == 302
    assert started == ["traffic", "traffic", "kill", "kill"]


@pytest.mark.parametrize(
    ("settings", "changes"),
    [
        pytest.param({"DEMO_DEVELOPMENT": ""}, {}, id="a proxy without headers, default"),
        pytest.param({}, {"HTTP_ORIGIN": FOREIGN}, id="a proxy without headers, another site"),
        pytest.param({}, {"HTTP_ORIGIN": OWN.replace("http", "https")}, id="another scheme"),
        pytest.param({}, {"HTTP_ORIGIN": "null"}, id="no origin"),
        pytest.param({"DEMO_DEVELOPMENT": "0"}, {}, id="switched off"),
        pytest.param({}, {"SERVER_SOFTWARE": "waitress"}, id="a server without a master"),
        pytest.param({}, {"REMOTE_ADDR": "192.0.2.7"}, id="another machine"),
        pytest.param({}, {"REMOTE_ADDR": ""}, id="unix socket"),
        pytest.param({}, {"HTTP_HOST": "rebound.example.org:8000"}, id="another name"),
        pytest.param({}, {"HTTP_HOST": "localhost.example.org"}, id="a name that begins so"),
        pytest.param({}, {"HTTP_HOST": "["}, id="no name"),
        pytest.param({}, {"HTTP_X_FORWARDED_FOR": "192.0.2.7"}, id="proxy"),
        pytest.param({}, {"HTTP_FORWARDED": "for=192.0.2.7"}, id="proxy by RFC 7239"),
        pytest.param({}, {"HTTP_X_REAL_IP": "192.0.2.7"}, id="nginx"),
        pytest.param({}, {"HTTP_VIA": "1.1 proxy"}, id="via"),
    ],
)
def test_all_others_have_no_buttons(
    environ, make_application, new_browser, started, settings, changes
):
    """Outside of development there is no button, and its form is not found."""
    browser = new_browser(make_application({**environ, **settings}))
    request = {**LOCAL, **changes}
    page = browser.get(PAGE, environ=request)
    assert page.status_int == 200
    assert "<button name" not in page.text and "/metrics" not in page.text
    for action in trial.ACTIONS:
        assert browser.post(PAGE, {"action": action}, environ=request).status_int == 404
    assert started == []


@pytest.mark.parametrize(
    ("variables", "options", "development"),
    [
        pytest.param({}, "", True, id="trial"),
        pytest.param({}, "-c gunicorn.conf.py --workers 4", True, id="other options"),
        pytest.param({"DEMO_DEVELOPMENT": "0"}, "", False, id="switched off"),
        pytest.param({"OTEL_ENVIRONMENT": "production"}, "", False, id="environment"),
        pytest.param({"GUNICORN_BIND": "127.0.0.1:8000"}, "", False, id="variable"),
        pytest.param({"GUNICORN_CMD_ARGS": "-b 127.0.0.1:8000"}, "", False, id="arguments"),
        pytest.param({"LISTEN_FDS": "1"}, "", False, id="socket of systemd"),
        pytest.param({}, "--bind=127.0.0.1:8000", False, id="option"),
        pytest.param({"AVATAR_TELEMETRY_APP": "a:b"}, "", False, id="another application"),
        pytest.param({"GUNICORN_BIND": "[::]:81", "DEMO_DEVELOPMENT": "1"}, "", True, id="on"),
    ],
)
def test_the_configuration_switches_a_trial_on(variables, options, development, monkeypatch):
    """gunicorn.conf.py switches development on where no address and no environment is given."""
    environ = {"HOME": "/tmp", **variables}
    monkeypatch.setattr(os, "environ", environ)
    monkeypatch.setattr("sys.argv", ["gunicorn", *options.split()])

    def start() -> bool:
        configuration = runpy.run_path(str(REPOSITORY / "gunicorn.conf.py"))
        configuration["telemetry"].on_starting = lambda server: None
        configuration["on_starting"](SimpleNamespace(cfg=Config()))
        return Settings.from_environ(environ).development

    # In a child, because the import of the hooks changes the whole process.
    assert in_child(start) is development


def test_no_other_action(browser, started):
    """A value that no button has does nothing."""
    assert browser.post(PAGE, {"action": "reboot"}, environ=LOCAL).status_int == 404
    assert started == []


def test_other_sites_cannot_press_the_buttons(browser, started):
    """A form without the token of the page is refused."""
    for action in trial.ACTIONS:
        form = {"action": action, "csrfmiddlewaretoken": "made-up"}
        assert browser.send(PAGE, "POST", POST=form, environ=LOCAL).status_int == 403
    assert started == []


def test_a_worker_is_killed_after_its_response():
    """The server gets the whole body; the process is killed when the server closes it."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        body = KillingBody([b"a", b"b"])
        os.write(writing, b"".join(body))
        body.close()
        os._exit(1)
    os.close(writing)
    _, status = os.waitpid(child, 0)
    with os.fdopen(reading, "rb") as sent:
        assert sent.read() == b"ab"
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL


@pytest.mark.parametrize(
    ("changes", "url"),
    [
        pytest.param({}, "http://127.0.0.1:8000", id="IPv4"),
        pytest.param({"SERVER_NAME": "0.0.0.0"}, "http://127.0.0.1:8000", id="any IPv4"),
        pytest.param({"SERVER_NAME": "::"}, "http://[::1]:8000", id="any IPv6"),
        pytest.param({"SCRIPT_NAME": "/deep"}, "http://127.0.0.1:8000/deep", id="mounted"),
        pytest.param({"HTTP_HOST": "localhost:22"}, "http://127.0.0.1:8000", id="through a tunnel"),
    ],
)
def test_traffic_goes_to_this_server(browser, changes, url):
    """The URL is the address of the server's socket, whatever the client calls it."""
    environ = Request.blank("/").environ
    environ |= {"SERVER_NAME": "127.0.0.1", "SERVER_PORT": "8000", **changes}
    browser.get("/")
    site = browser.application._site[1]
    assert trial._own_url(Visit(environ, site)) == url


def test_favicon(browser):
    """Browsers find the icon where they look for it."""
    icon = browser.get("/favicon.ico")
    assert (icon.status_int, icon.content_type) == (200, "image/png")


def test_the_dashboard_is_a_picture(browser):
    """The picture of a dashboard can be opened."""
    picture = browser.get("/static/dashboard.svg")
    assert (picture.status_int, picture.content_type) == (200, "image/svg+xml")
