"""Pages for everybody, and static files."""

import hashlib
from html.parser import HTMLParser
from wsgiref.util import FileWrapper

import pytest
from webob import Request

ANN = hashlib.md5(b"ann@example.org").hexdigest()


class Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in ("href", "src", "action")]


@pytest.mark.parametrize(
    "page",
    ["/", "/tools/check/", "/description/", "/statistics/", "/openid/login/", "/accounts/login/"],
)
def test_links(browser, page):
    """Whatever a page links to is there."""
    links = Links()
    links.feed(browser.get(page).text)
    assert links.found
    for link in links.found:
        assert browser.get(link).status_int == 200


def test_links_of_members(member, photo):
    """Whatever the profile links to is there, too."""
    member.upload(photo())
    links = Links()
    links.feed(member.get("/accounts/profile/").text)
    for link in set(links.found) - {"/accounts/logout/", "/accounts/remove_confirmed_email/1"}:
        assert member.get(link).status_int == 200


@pytest.mark.parametrize(
    ("who", "found"),
    [
        pytest.param("Ann@Example.org", f"/avatar/{ANN}?", id="e-mail"),
        pytest.param(ANN.upper(), f"/avatar/{ANN}?", id="digest"),
        pytest.param("nobody", 'role="alert"', id="nothing"),
        pytest.param(
            "https://ann.example.org/",
            hashlib.sha256(b"https://ann.example.org/").hexdigest(),
            id="OpenID",
        ),
    ],
)
@pytest.mark.parametrize("page", ["/", "/tools/check/"])
def test_form(browser, page, who, found):
    """The form shows the avatar of an address or a digest."""
    response = browser.post(page, {"who": who, "s": "40", "d": "robohash"})
    assert response.status_int == 200
    assert found in response.text


def test_values_are_escaped(browser):
    """Typed text comes back as text."""
    assert '"><img' not in browser.post("/", {"who": '"><img src=x>'}).text


def test_stats(browser):
    """The statistics are counts."""
    response = browser.get("/stats/")
    assert response.content_type == "application/json"
    assert set(response.json.values()) == {0}


def test_openid(browser):
    """An OpenID login shows that it cannot succeed."""
    response = browser.post("/openid/login/", {"openid_identifier": "https://a.example/"})
    assert response.status_int == 200
    assert "not available" in response.text


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/static/style.css", "text/css"),
        ("/static/img/deadbeef.png", "image/png"),
        ("/static/img/nobody/80.png", "image/png"),
        ("/static/img/mm/512.png", "image/png"),
    ],
)
def test_static(browser, path, kind):
    """A static file is sent whole, and not again when it has not changed."""
    response = browser.get(path)
    assert (response.status_int, response.content_type) == (200, kind)
    assert int(response.headers["Content-Length"]) == len(response.body) > 0
    headers = {"If-Modified-Since": response.headers["Last-Modified"]}
    assert browser.get(path, headers=headers).status_int == 304


def test_file_wrapper(application):
    """A server that has a file wrapper gets it back untouched, and can use sendfile."""
    environ = Request.blank("/static/style.css").environ
    environ["wsgi.file_wrapper"] = FileWrapper
    body = application(environ, lambda status, headers: None)
    assert type(body) is FileWrapper
    body.close()


@pytest.mark.parametrize("name", ["../settings.py", "img/../style.css", "", "%2e%2e/cache.py"])
def test_static_stays_inside(browser, name):
    """Nothing but the files of the folder can be had."""
    assert browser.get(f"/static/{name}").status_int == 404
