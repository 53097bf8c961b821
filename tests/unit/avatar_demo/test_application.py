"""The application keeps to WSGI, and to what methods a page has."""

from wsgiref.validate import validator

import pytest
from webob import Request

import avatar_demo
from avatar_demo import DemoSettingsError, create_application

DIGEST = "a" * 32
PAGES = (
    "/",
    "/stats/",
    "/nowhere",
    "/avatar/",
    f"/avatar/{DIGEST}",
    f"/avatar/{DIGEST}?d=retro",
    f"/avatar/{DIGEST}?d=404",
    "/static/style.css",
    "/accounts/login/",
    "/accounts/profile/",
)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE"])
@pytest.mark.parametrize("path", PAGES)
def test_wsgi(application, path, method):
    """Every kind of response conforms to the WSGI specification."""
    request = Request.blank(path, method=method)
    response = request.get_response(validator(application))
    body = response.body
    assert response.status_int < 500
    assert method != "HEAD" or body == b""


@pytest.mark.parametrize("path", PAGES)
def test_head(application, path):
    """HEAD has GET's status and headers."""
    get, head = (Request.blank(path, method=m).get_response(application) for m in ("GET", "HEAD"))
    assert head.body == b""
    assert (head.status, get.content_length) == (get.status, len(get.body))
    assert head.headers.get("Content-Length") == get.headers.get("Content-Length")


@pytest.mark.parametrize(
    ("path", "method", "allow"),
    [
        (f"/avatar/{DIGEST}", "POST", "GET, HEAD"),
        ("/accounts/login/", "PUT", "GET, HEAD, POST"),
        ("/accounts/remove_confirmed_email/1", "GET", "POST"),
    ],
)
def test_405(application, path, method, allow):
    """A method that a page does not have is refused, and those that it has are named."""
    response = Request.blank(path, method=method).get_response(application)
    assert (response.status_int, response.headers["Allow"]) == (405, allow)


def test_mounted(application):
    """Below another path, links and redirects stay there."""
    options = {"base_url": "http://localhost/deep"}
    assert 'href="/deep/static/style.css"' in Request.blank("/", **options).get_response(
        application).text  # fmt: skip
    response = Request.blank("/accounts/profile/", **options).get_response(application)
    assert response.headers["Location"].startswith("/deep/accounts/login/?next=/deep/accounts/")


def test_error_is_logged(application, monkeypatch, caplog):
    """An exception becomes a 500 and a log record, as in Django."""
    application(Request.blank("/").environ, lambda *args: None)
    monkeypatch.setattr(application._site[1].cache, "get", lambda key: 1 / 0)
    response = Request.blank(f"/avatar/{DIGEST}").get_response(application)
    assert response.status_int == 500
    assert "ZeroDivisionError" in caplog.text
    assert "ZeroDivisionError" not in response.text


def test_face():
    """The package exports the names of ``__all__``, and opens nothing at its import."""
    for name in avatar_demo.__all__:
        assert hasattr(avatar_demo, name)
    assert avatar_demo.application._site is None


def test_settings_are_checked_at_once():
    """A wrong setting is an error when the application is made."""
    with pytest.raises(DemoSettingsError, match="DEMO_MAX_PHOTOS"):
        create_application({"DEMO_MAX_PHOTOS": "many"})
