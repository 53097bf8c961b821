"""A browser without a network, photos, and a stand-in for Gravatar and Bluesky."""

import json
import re
import ssl
import subprocess
from contextlib import contextmanager
from io import BytesIO
from urllib.parse import urlencode, urlsplit

import pytest
from PIL import Image
from webob import Request

from avatar_demo import create_application, sessions
from avatar_demo.cache import MemcachedCache
from tests.support.local_server import Handler, make_server, serving
from tests.support.real_servers import find
from tests.support.waiting import DEADLINE

PASSWORD = "correct horse"
CSRF = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


class Browser:
    """Follows no redirect, keeps cookies, and sends the CSRF token along."""

    def __init__(self, application):
        self.application = application
        self.cookies = {}

    def send(self, path, method="GET", **options):
        request = Request.blank(path, method=method, **options)
        if self.cookies:
            request.headers["Cookie"] = "; ".join(f"{k}={v}" for k, v in self.cookies.items())
        response = request.get_response(self.application)
        assert response.body is not None  # reads it to its end and closes it
        for header in response.headers.getall("Set-Cookie"):
            name, _, rest = header.partition("=")
            self.cookies[name] = rest.partition(";")[0]
            if "Max-Age=0" in header:
                del self.cookies[name]
        return response

    get = send

    def token(self):
        return CSRF.search(self.get("/accounts/login/").text).group(1)

    def post(self, path, fields=(), **options):
        form = {"csrfmiddlewaretoken": self.token(), **dict(fields)}
        return self.send(path, "POST", POST=form, **options)

    def register(self, username="ann@example.org", password=PASSWORD):
        return self.post(
            "/accounts/new/",
            {"username": username, "password1": password, "password2": password},
        )

    def log_in(self, username="ann@example.org", password=PASSWORD, next_page=""):
        query = "?" + urlencode({"next": next_page}) if next_page else ""
        return self.post(f"/accounts/login/{query}", {"username": username, "password": password})

    def upload(self, data, name="photo.png", **changes):
        fields = {"photo": (name, data), "not_porn": "on", "can_distribute": "on", **changes}
        return self.post("/accounts/upload_photo/", {k: v for k, v in fields.items() if v})

    def message(self):
        found = re.search(r'role="status">([^<]*)<', self.get("/accounts/profile/").text)
        return found.group(1) if found else ""


def make_photo(name="PNG", size=(60, 40), color=(200, 30, 60)):
    file = BytesIO()
    Image.new("RGB", size, color).save(file, name)
    return file.getvalue()


@pytest.fixture
def photo():
    return make_photo


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch):
    """Each hash contains its cost; the real one takes 50 ms."""
    monkeypatch.setattr(sessions, "COST", (2, 8, 1))


@pytest.fixture
def environ(tmp_path):
    return {
        "DEMO_DATA": str(tmp_path / "data"), "DEMO_SECRET": "s" * 32,
        "DEMO_OUTSIDE_TIMEOUT": str(DEADLINE),
    }  # fmt: skip


@pytest.fixture
def make_application():
    made = []

    def make(environ):
        made.append(create_application(environ))
        return made[-1]

    yield make
    for application in made:
        if application._site:
            application._site[1].database.kw["bind"].dispose()


@pytest.fixture
def application(environ, make_application):
    return make_application(environ)


@pytest.fixture
def browser(application):
    return Browser(application)


@pytest.fixture
def new_browser():
    return Browser


@pytest.fixture
def member(browser):
    assert browser.register().status_int == 302
    return browser


class StandIn(Handler):
    """Gravatar with one picture, and Bluesky with one profile."""

    def do_GET(self):
        self.server.asked.append(self.path)
        path = urlsplit(self.path).path
        answers = {
            "/avatar/" + "a" * 32: make_photo("JPEG"),
            "/avatar/" + "c" * 32: b"<script>not an image</script>",
            "/avatar/" + "e" * 32: b"x" * 300_000,
            "/xrpc/app.bsky.actor.getProfile": json.dumps(
                {"avatar": self.server.bluesky_avatar or f"{self.server.url}/avatar/{'a' * 32}"}
            ).encode(),
        }
        body = answers.get(path)
        if "b" * 32 in path:
            self.send_error(503)
        elif body is None:
            self.send_error(404)
        else:
            self.respond(200, body)


@contextmanager
def serve(context=None):
    server = make_server(StandIn)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.url = f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}"
    server.asked, server.bluesky_avatar = [], ""
    with serving(server):
        yield server


@pytest.fixture
def stand_in():
    with serve() as server:
        yield server


@pytest.fixture
def certificate(tmp_path):
    path = tmp_path / "stand-in.pem"
    command = (
        f"{find('openssl')} req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "
        f"-days 2 -subj /CN=stand-in -addext subjectAltName=IP:127.0.0.1 "
        f"-keyout {path}.key -out {path}"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    return path


@pytest.fixture
def tls_stand_in(certificate):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, f"{certificate}.key")
    with serve(context) as server:
        yield server


@pytest.fixture
def connect():
    made = []

    def make(address, timeout=DEADLINE):
        made.append(MemcachedCache(address, timeout))
        return made[-1]

    yield make
    for cache in made:
        cache.close()
