"""Uploads: a photo gets to the crop page, everything else back with a reason."""

from io import BytesIO

import pytest
from PIL import Image
from webob import Request

UPLOAD, PROFILE = "/accounts/upload_photo/", "/accounts/profile/"


@pytest.fixture
def environ(environ):
    limits = {"DEMO_MAX_UPLOAD": "50000", "DEMO_MAX_PIXELS": "40000", "DEMO_MAX_PHOTOS": "2"}
    return {**environ, **limits}


@pytest.mark.parametrize("name", ["PNG", "JPEG", "GIF", "WEBP"])
def test_success(member, photo, name):
    """A photo gets to its crop page, which shows it."""
    response = member.upload(photo(name))
    assert (response.status_int, response.headers["Location"]) == (302, "/accounts/crop_photo/1")
    assert 'width="60" height="40"' in member.get("/accounts/crop_photo/1").text
    raw = member.get("/accounts/raw_image/1")
    assert raw.content_type == f"image/{name.lower()}"
    assert Image.open(BytesIO(raw.body)).size == (60, 40)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda photo: b"no image", "Invalid format", id="invalid format"),
        pytest.param(lambda photo: b"x" * 50_001, "image is too large", id="too big"),
        pytest.param(lambda photo: b"x" * 2_000_000, "image is too large", id="much too big"),
        pytest.param(
            lambda photo: photo("PNG", (300, 300)), "too many pixels", id="too many pixels"
        ),
    ],
)
def test_failure(member, photo, make, message):
    """A refused upload leads back to the profile, which shows the reason."""
    response = member.upload(make(photo))
    assert (response.status_int, response.headers["Location"]) == (302, PROFILE)
    assert message in member.message()
    assert member.get("/stats/").json["avatars"] == 0


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"photo": None}, id="no file"),
        pytest.param({"photo": "text"}, id="a text instead"),
        pytest.param({"photo": ("a.png", b"")}, id="an empty file"),
        pytest.param({"not_porn": None}, id="a box unchecked"),
    ],
)
def test_form_again(member, photo, changes):
    """An incomplete form is shown again."""
    response = member.upload(photo(), **changes)
    assert response.status_int == 200
    assert 'role="alert"' in response.text


def test_too_many(member, photo):
    """Nobody has more photos than allowed."""
    for _ in range(2):
        assert "crop_photo" in member.upload(photo()).headers["Location"]
    assert member.upload(photo()).headers["Location"] == PROFILE
    assert "too many" in member.message()


@pytest.mark.parametrize("size", [10, 100_000])
def test_not_logged_in(browser, size):
    """A visitor without a login is sent to the login first, and would come back."""
    response = browser.upload(b"x" * size)
    assert response.status_int == 302
    assert response.headers["Location"] == "/accounts/login/?next=/accounts/upload_photo/"


def test_csrf(member, photo):
    """An upload from another site is refused."""
    fields = {"photo": ("p.png", photo())}
    assert member.send(UPLOAD, "POST", POST=fields).status_int == 403


class Endless:
    """A body without a length, and without an end."""

    def __init__(self):
        self.sent = 0

    def read(self, size):
        self.sent += size
        return b"x" * size


def test_endless_body(member):
    """A body without an announced length is read up to a bound, and no further."""
    request = Request.blank(UPLOAD, method="POST", content_type="multipart/form-data; boundary=b")
    body = Endless()
    request.environ.update({"wsgi.input": body, "wsgi.input_terminated": True})
    request.environ.pop("CONTENT_LENGTH", None)
    assert request.get_response(member.application).status_int == 302
    assert body.sent < 1_000_000


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        pytest.param("multipart/form-data", b"--x", 400, id="no boundary"),
        pytest.param("multipart/form-data; boundary=\xff", b"--x", 400, id="odd boundary"),
        pytest.param("multipart/form-data; boundary=x", b"--x\r\n\r\n", 400, id="cut off"),
        pytest.param("application/x-www-form-urlencoded", b"a&" * 500, 400, id="many fields"),
        pytest.param("application/json", b"{}", 403, id="no form"),
        pytest.param(
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' * 500,
            400,
            id="many parts",
        ),
    ],
)
def test_malformed(member, content_type, body, status):
    """A body that is no form of ours is refused, and never an error of ours."""
    options = {"content_type": content_type, "body": body}
    assert member.send(UPLOAD, "POST", **options).status_int == status


def test_early_end(member):
    """A client that goes away in the middle gets a 400."""
    request = Request.blank(UPLOAD, method="POST", content_type="multipart/form-data; boundary=b")
    request.environ.update({"wsgi.input": BytesIO(b"--b"), "CONTENT_LENGTH": "1000"})
    assert request.get_response(member.application).status_int == 400


def test_crop_outside(member, photo):
    """A crop that leaves the photo leads back, and the photo stays as it is."""
    member.upload(photo())
    member.post("/accounts/crop_photo/1", {"x": "50", "y": "0", "w": "40", "h": "40"})
    assert "outside" in member.message()
    assert Image.open(BytesIO(member.get("/accounts/raw_image/1").body)).size == (60, 40)


def test_delete(member, photo):
    """A deleted photo is gone, and its addresses have none."""
    member.upload(photo())
    member.post("/accounts/crop_photo/1")
    assert member.get("/accounts/delete_photo/1").status_int == 200
    assert member.post("/accounts/delete_photo/1").headers["Location"] == PROFILE
    assert member.get("/accounts/raw_image/1").status_int == 404
    avatar = member.get("/avatar/8b5a6a28fc840441be692d74a81ccd1a?d=404")
    assert avatar.status_int == 404


@pytest.mark.parametrize("page", ["raw_image", "crop_photo", "delete_photo"])
def test_photos_of_others(application, member, new_browser, photo, page):
    """A photo's pages are for its owner only."""
    member.upload(photo())
    stranger = new_browser(application)
    assert "login" in stranger.get(f"/accounts/{page}/1").headers["Location"]
    stranger.register("bob")
    assert stranger.get(f"/accounts/{page}/1").status_int == 404
    assert stranger.get(f"/accounts/{page}/99999999999999").status_int == 404
