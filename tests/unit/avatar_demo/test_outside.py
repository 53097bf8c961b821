"""The proxies fetch from outside, and come back where nothing is there."""

import pytest

SOME, NONE, ERROR, TEXT, LARGE = ("a" * 32, "d" * 32, "b" * 32, "c" * 32, "e" * 32)


@pytest.fixture
def environ(environ, stand_in):
    urls = {"DEMO_GRAVATAR_URL": stand_in.url, "DEMO_BLUESKY_URL": stand_in.url}
    return {**environ, **urls, "DEMO_MAX_UPLOAD": "200000"}


def test_found(browser, stand_in):
    """An image of Gravatar is passed on, after one request to test and one to fetch."""
    response = browser.get(f"/gravatarproxy/{SOME}?s=40&default=retro")
    assert (response.status_int, response.content_type) == (200, "image/jpeg")
    assert stand_in.asked == [f"/avatar/{SOME}?s=50&d=404", f"/avatar/{SOME}?s=40&d=retro"]


@pytest.mark.parametrize("digest", [NONE, ERROR, TEXT, LARGE])
def test_not_found(browser, digest):
    """No image, an error, no image at all or too much of it: back to the avatar, forced."""
    response = browser.get(f"/gravatarproxy/{digest}?s=40&default=mm")
    assert response.status_int == 302
    assert response.headers["Location"] == f"/avatar/{digest}?s=40&forcedefault=y&default=mm"


def test_no_image_is_remembered(browser, stand_in):
    """A digest without an image at Gravatar is not requested again at once."""
    for _ in range(2):
        browser.get(f"/gravatarproxy/{NONE}")
    assert len(stand_in.asked) == 1


def test_network_error(environ, new_browser, make_application, caplog):
    """A network error is a 500 and a log record with the exception."""
    application = make_application({**environ, "DEMO_GRAVATAR_URL": "http://127.0.0.1:9"})
    assert new_browser(application).get(f"/gravatarproxy/{SOME}").status_int == 500
    assert caplog.records[-1].name == "avatar_demo.request"
    assert issubclass(caplog.records[-1].exc_info[0], OSError)


def test_tls(environ, new_browser, make_application, tls_stand_in, certificate):
    """A stand-in with a private authority is trusted when that is named, and only then."""
    environ = {**environ, "DEMO_GRAVATAR_URL": tls_stand_in.url}
    path = f"/gravatarproxy/{SOME}"
    assert new_browser(make_application(environ)).get(path).status_int == 500
    environ["DEMO_GRAVATAR_CA"] = str(certificate)
    assert new_browser(make_application(environ)).get(path).status_int == 200


def test_import(member):
    """A photo is imported from Gravatar for an address of one's own."""
    digest = "/accounts/import_photo/ann@example.org"
    assert member.get(digest).status_int == 200
    assert member.post(digest).headers["Location"] == "/accounts/profile/"
    assert member.message() == "Gravatar has no photo of this address."
    member.post("/accounts/import_photo/bob@example.org")
    assert member.message() == "This is not an address of yours."


@pytest.mark.parametrize(
    ("avatar", "status"),
    [
        pytest.param("", 200, id="a picture"),
        pytest.param("http://169.254.169.254/latest", 302, id="another host"),
        pytest.param("file:///etc/passwd", 302, id="a file"),
        pytest.param("http://cdn.bsky.app/x", 302, id="no TLS"),
    ],
)
def test_bluesky(member, stand_in, avatar, status):
    """A Bluesky handle's picture is fetched from Bluesky's hosts only."""
    stand_in.bluesky_avatar = avatar
    digest = "8b5a6a28fc840441be692d74a81ccd1a"
    page = "/accounts/assign_bluesky_handle_to_email/1"
    member.post(page, {"bluesky_handle": "@Ann.bsky.social"})
    location = member.get(f"/avatar/{digest}").headers["Location"]
    assert location == f"/blueskyproxy/{digest}?s=80"
    assert member.get(location).status_int == status


def test_bluesky_without_a_handle(browser, stand_in):
    """Without a handle no request is sent."""
    assert browser.get(f"/blueskyproxy/{SOME}").status_int == 302
    assert stand_in.asked == []
